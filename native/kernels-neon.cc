// The kernels for ARMv8, 4 floats at a time. CMakeLists.txt compiles this file for that CPU; elsewhere it is empty.
#include "kernels-paths.h"

#if defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>

#include <cstring>
#include <utility>

namespace lora_store {
namespace neon {
namespace {

constexpr size_t kLanes = 4;
#define LORA_STORE_NEON_LANES 1  // Every arm64 CPU has them, but the scalar kernels are there to do without.
#include "weights-impl.h"
#include "kernels-impl.h"

}  // namespace

constexpr Kernels kTable = Table("neon");

}  // namespace neon

const Kernels* const kNeonKernels = &neon::kTable;

}  // namespace lora_store
#else
const lora_store::Kernels* const lora_store::kNeonKernels = nullptr;
#endif
