// Records put together field by field, wrong ones too, as docs/format.md lays them out: what the native tests have besides
// Encode and Halve, to hold these to.
#ifndef LORA_STORE_TEST_RECORDS_H_
#define LORA_STORE_TEST_RECORDS_H_

#include <cstdint>
#include <cstring>
#include <vector>

#include "../../native/codec.h"

namespace lora_store_test {

using Bytes = std::vector<uint8_t>;

// Where the fields of a record begin.
struct Layout {
  static constexpr size_t kRank = 24;
  static constexpr size_t kInputDim = 32;
  static constexpr size_t kBaseCount = 40;
  static constexpr size_t kBase = 48;

  Layout(size_t base_count, size_t user_count, lora_store::Precision precision)
      : weight_bytes(static_cast<size_t>(precision)),
        output_dim(kBase + weight_bytes * base_count),
        user_cols(output_dim + 8),
        user_count(output_dim + 16),
        user(output_dim + 24),
        rank(user + weight_bytes * user_count),
        scaling(rank + 8),
        iterations(rank + 12),
        size(rank + 20) {}
  explicit Layout(const lora_store::Facts& facts, lora_store::Precision precision = lora_store::Precision::kSingle)
      : Layout(facts.base_count(), facts.user_count(), precision) {}

  size_t weight_bytes, output_dim, user_cols, user_count, user, rank, scaling, iterations, size;
};

// Weights that a half holds exactly, each unlike those beside it.
inline float WeightAt(size_t i) { return (i % 2 == 0 ? 0.25f : -1.5f) * static_cast<float>(1 + i % 97); }
inline uint16_t HalfOfEighths(int eighths) {
  if (eighths == 0) return 0;
  const int sign = eighths < 0 ? 0x8000 : 0;
  int mantissa = eighths < 0 ? -eighths : eighths;
  int exponent = 22;  // Of 1024 eighths, or 2^7.
  for (; mantissa < 1024; mantissa *= 2) exponent--;
  return static_cast<uint16_t>(sign | exponent << 10 | (mantissa - 1024));
}

template <typename T>
void Put(uint8_t* bytes, size_t at, T value) {
  std::memcpy(bytes + at, &value, sizeof value);
}

inline lora_store::Facts FactsOf(uint64_t rank, uint64_t input_dim, uint64_t output_dim) {
  return {rank, input_dim, output_dim, 2.0f, 7};
}

inline std::vector<float> WeightsOf(size_t count) {
  std::vector<float> weights(count);
  for (size_t i = 0; i < count; i++) weights[i] = WeightAt(i);
  return weights;
}

inline Bytes RecordOf(const lora_store::Facts& facts, lora_store::Precision precision = lora_store::Precision::kSingle) {
  const Layout at(facts, precision);
  Bytes bytes(at.size, 9);
  const auto weights = [&](size_t offset, size_t count) {
    for (size_t i = 0; i < count; i++) {
      if (precision == lora_store::Precision::kSingle) Put(bytes.data(), offset + 4 * i, WeightAt(i));
      else Put(bytes.data(), offset + 2 * i, HalfOfEighths(static_cast<int>(8 * WeightAt(i))));
    }
  };
  Put(bytes.data(), 0, uint64_t{lora_store::kUserIdBytes});
  Put(bytes.data(), Layout::kRank, facts.rank);
  Put(bytes.data(), Layout::kInputDim, facts.input_dim);
  Put(bytes.data(), Layout::kBaseCount, uint64_t{facts.base_count()});
  weights(Layout::kBase, facts.base_count());
  Put(bytes.data(), at.output_dim, facts.output_dim);
  Put(bytes.data(), at.user_cols, facts.rank);
  Put(bytes.data(), at.user_count, uint64_t{facts.user_count()});
  weights(at.user, facts.user_count());
  Put(bytes.data(), at.rank, facts.rank);
  Put(bytes.data(), at.scaling, facts.scaling_factor);
  Put(bytes.data(), at.iterations, facts.training_iterations);
  return bytes;
}

}  // namespace lora_store_test

#endif  // LORA_STORE_TEST_RECORDS_H_
