// Every kind of lanes that this machine runs.
#ifndef LORA_STORE_TEST_PATHS_H_
#define LORA_STORE_TEST_PATHS_H_

#include <vector>

#include "../../native/kernels.h"

namespace lora_store_test {

inline const std::vector<const lora_store::Kernels*>& AllPaths() {
  static const std::vector<const lora_store::Kernels*> all = [] {
    std::vector<const lora_store::Kernels*> found;
    for (const char* name : {"scalar", "avx2", "avx512", "neon"}) {
      if (const auto* kernels = lora_store::KernelsNamed(name)) found.push_back(kernels);
    }
    return found;
  }();
  return all;
}

}  // namespace lora_store_test

#endif  // LORA_STORE_TEST_PATHS_H_
