// A run of training steps in vectors of the rank (docs/personalisation.md). Promises: float64 from the projections on, no
// allocation, no throw, nothing touched outside the arrays; finite losses wherever the logits are finite. It is no kernel:
// what it takes is the time of exp() and log1p(), for which no lanes help, and so every CPU gives the same numbers. The
// readable reference is src/adapter/descent.ts, and a test holds the two together.
#ifndef LORA_STORE_DESCENT_H_
#define LORA_STORE_DESCENT_H_

#include <cstddef>
#include <cstdint>

namespace lora_store {

struct Descent {
  size_t rank;
  size_t events;
  size_t epochs;
  const float* hidden;       // A·x of each content, row-major [contents × rank].
  const uint32_t* contents;  // [events]: a row of hidden each.
  const double* labels;      // [events], 0 to 1.
  double scaling;
  double squared_preference;  // |preference|².
  double learning_rate;
};

// current [rank]: Bᵀ·preference, which every step moves. direction [rank]: B -= preference ⊗ direction is what all steps
// together do. losses [epochs]: mean cross-entropy of the events, each taken before its step.
void RunDescent(const Descent& run, double* current, double* direction, double* losses);

}  // namespace lora_store

#endif  // LORA_STORE_DESCENT_H_
