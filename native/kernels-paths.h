// The kinds of lanes there are; nullptr where this build has none of them.
#ifndef LORA_STORE_KERNELS_PATHS_H_
#define LORA_STORE_KERNELS_PATHS_H_

#include "kernels.h"

namespace lora_store {

extern const Kernels* const kAvx512Kernels;
extern const Kernels* const kAvx2Kernels;
extern const Kernels* const kNeonKernels;

}  // namespace lora_store

#endif  // LORA_STORE_KERNELS_PATHS_H_
