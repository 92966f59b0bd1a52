#include "kernels.h"

#include <cstring>
#include <utility>

#include "cpu.h"
#include "kernels-paths.h"

namespace lora_store {
namespace {

namespace scalar {
constexpr size_t kLanes = 1;
#include "weights-impl.h"
#include "kernels-impl.h"
}  // namespace scalar

constexpr Kernels kScalarKernels = scalar::Table("scalar");

const Kernels& Choose() {
  for (const char* const name : {"avx512", "avx2", "neon"}) {
    const Kernels* const kernels = KernelsNamed(name);
    if (kernels != nullptr) return *kernels;
  }
  return kScalarKernels;
}

}  // namespace

const Kernels* KernelsNamed(std::string_view name) {
  const Cpu& cpu = TheCpu();
  const Kernels* const all[] = {cpu.avx512 ? kAvx512Kernels : nullptr, cpu.avx2 ? kAvx2Kernels : nullptr, kNeonKernels,
                                &kScalarKernels};
  for (const Kernels* kernels : all) {
    if (kernels != nullptr && name == kernels->name) return kernels;
  }
  return nullptr;
}

const Kernels& BestKernels() {
  static const Kernels& best = Choose();
  return best;
}

}  // namespace lora_store
