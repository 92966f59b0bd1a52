// The kernels for x86-64 with AVX2 and FMA, 8 floats at a time. CMakeLists.txt compiles this file for that CPU; elsewhere it is empty.
#include "kernels-paths.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include <cstring>
#include <utility>

namespace lora_store {
namespace avx2 {
namespace {

#define LORA_STORE_F16C_LANES 1
constexpr size_t kLanes = 8;
#include "weights-impl.h"
#include "kernels-impl.h"

}  // namespace

constexpr Kernels kTable = Table("avx2");

}  // namespace avx2

const Kernels* const kAvx2Kernels = &avx2::kTable;

}  // namespace lora_store
#else
const lora_store::Kernels* const lora_store::kAvx2Kernels = nullptr;
#endif
