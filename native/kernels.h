// What an adapter computes: y = s·B·(A·x), its scores, and the step that trains it. Promises: the same algebra on every
// CPU (kernels-impl.h, compiled once for each kind of lanes), no allocation, no throw, nothing touched outside the arrays,
// which may lie wherever a float may, and may overlap: forward's out may be its input; any other output that overlaps what
// is read holds numbers of no meaning, and nothing worse. A result differs from the exact one by at most 1e-5 · Σ|aᵢ·bᵢ| of the sums it is made of, for any
// lengths, while products and partial sums stay within what f32 holds (1e-38 to 3e38). The readable reference is src/adapter/linear.ts, and a test holds the two together on every path.
#ifndef LORA_STORE_KERNELS_H_
#define LORA_STORE_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lora_store {

struct Weights {
  size_t rank;
  size_t input_dim;
  size_t output_dim;
  float scaling;
  const float* base;  // A, row-major [rank × input_dim].
  const float* user;  // B, row-major [output_dim × rank].
};

struct Kernels {
  const char* name;

  // out [output_dim] = s·B·(A·input). scratch: rank.
  void (*forward)(const Weights& weights, const float* input, float* scratch, float* out);

  // preference · forward(input) = s·(Bᵀ·preference)·(A·input): the output vector is never formed. scratch: 2·rank.
  double (*score)(const Weights& weights, const float* input, const float* preference, float* scratch);

  // out [count]: the score of each row of inputs, preference · forward(row) = (s·Aᵀ·(Bᵀ·preference)) · row: the bracket is
  // the same for all of them, which leaves one dot product for each. scratch: rank + input_dim.
  void (*score_many)(const Weights& weights, const float* inputs, size_t count, const float* preference, float* scratch,
                     float* out);

  // The parts of a training step. out [rank] = A·input, for A [rank × input_dim].
  void (*project)(const float* base, size_t rank, size_t input_dim, const float* input, float* out);

  // out [rank] = Bᵀ·preference, for B [output_dim × rank].
  void (*reflect)(const float* user, size_t output_dim, size_t rank, const float* preference, float* out);

  // user [output_dim × rank] -= preference [output_dim] ⊗ direction [rank]: one step down, or many that share a preference.
  void (*descend)(float* user, size_t output_dim, size_t rank, const float* preference, const float* direction);

  // False: one of count f32, at any alignment, is NaN or infinite.
  bool (*finite)(const uint8_t* weights, size_t count);

  // count f32 from source to target, at any alignment. False: one is NaN or infinite.
  bool (*copy_finite)(const uint8_t* source, size_t count, uint8_t* target);

  // count f32 at source to halves at target, rounded to nearest even, at any alignment. False: one is too large for a half.
  bool (*to_half)(const uint8_t* source, size_t count, uint8_t* target);

  // count halves at source to f32 at target, exactly. False: one is NaN or infinite.
  bool (*from_half)(const uint8_t* source, size_t count, uint8_t* target);
};

// By name: "avx512", "avx2", "neon", "scalar". nullptr where this CPU or this build has no such lanes.
const Kernels* KernelsNamed(std::string_view name);

// The fastest that this CPU runs.
const Kernels& BestKernels();

}  // namespace lora_store

#endif  // LORA_STORE_KERNELS_H_
