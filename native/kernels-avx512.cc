// The kernels for x86-64 with AVX-512, 16 floats at a time. CMakeLists.txt compiles this file for that CPU; elsewhere it is empty.
#include "kernels-paths.h"

#if defined(__AVX512F__)
#include <immintrin.h>

#include <cstring>
#include <utility>

namespace lora_store {
namespace avx512 {
namespace {

#define LORA_STORE_F16C_LANES 1
constexpr size_t kLanes = 16;
#include "weights-impl.h"
#include "kernels-impl.h"

}  // namespace

constexpr Kernels kTable = Table("avx512");

}  // namespace avx512

const Kernels* const kAvx512Kernels = &avx512::kTable;

}  // namespace lora_store
#else
const lora_store::Kernels* const lora_store::kAvx512Kernels = nullptr;
#endif
