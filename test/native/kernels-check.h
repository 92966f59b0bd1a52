// What kernels.h promises, asked of every kind of lanes: nothing is touched outside the arrays, what is only read stays as
// it was, and every result is within 1e-5 of the sum of its absolute terms, as f64 computes them.
#ifndef LORA_STORE_TEST_KERNELS_CHECK_H_
#define LORA_STORE_TEST_KERNELS_CHECK_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "paths.h"

namespace lora_store_test {

// Weights, `count` rows of inputs (one at least is there, for what takes one) and a preference.
struct Problem {
  size_t rank, input_dim, output_dim, count;
  float scaling;
  Room base, user, inputs, preference;
  bool tame;  // All of them so small that no sum overflows: only then the results mean anything.
};

// A sum, and the sum of its absolute terms.
struct Sum {
  double value = 0;
  double size = 0;

  void Add(double factor, const Sum& term) {
    value += factor * term.value;
    size += std::fabs(factor) * term.size;
  }
  bool Near(double actual) const { return std::fabs(actual - value) <= 1e-5 * size + 1e-30; }
};

inline Sum Exact(double value) { return {value, std::fabs(value)}; }

struct Reference {
  std::vector<Sum> hidden, reflected, out, scores;

  explicit Reference(Problem& p)
      : hidden(Projected(p, 0)), reflected(p.rank), out(p.output_dim), scores(p.count) {
    for (size_t i = 0; i < p.output_dim; i++) {
      for (size_t k = 0; k < p.rank; k++) {
        const double weight = p.user.floats()[i * p.rank + k];
        reflected[k].Add(p.preference.floats()[i], Exact(weight));
        out[i].Add(p.scaling * weight, hidden[k]);
      }
    }
    for (size_t c = 0; c < p.count; c++) {
      const std::vector<Sum> row = Projected(p, c);
      for (size_t k = 0; k < p.rank; k++) {
        scores[c].value += p.scaling * row[k].value * reflected[k].value;
        scores[c].size += std::fabs(p.scaling) * row[k].size * reflected[k].size;
      }
    }
  }

 private:
  static std::vector<Sum> Projected(Problem& p, size_t row) {
    std::vector<Sum> sums(p.rank);
    const float* const input = p.inputs.floats() + row * p.input_dim;
    for (size_t k = 0; k < p.rank; k++) {
      for (size_t j = 0; j < p.input_dim; j++) sums[k].Add(p.base.floats()[k * p.input_dim + j], Exact(input[j]));
    }
    return sums;
  }
};

inline void AllNear(const std::vector<Sum>& expected, Room& actual) {
  for (size_t i = 0; i < expected.size(); i++) CHECK(expected[i].Near(actual.floats()[i]));
}

// `shift` bytes, a multiple of four, off alignment.
inline void KeepsPromises(const lora_store::Kernels& kernels, Problem& p, const Reference& exact, size_t shift) {
  const lora_store::Weights weights{p.rank, p.input_dim, p.output_dim, p.scaling, p.base.floats(), p.user.floats()};
  const size_t rank = 4 * p.rank;
  Room hidden(rank, shift), reflected(rank, shift), out(4 * p.output_dim, shift), scores(4 * p.count, shift);
  Room one(rank, shift), two(2 * rank, shift), many(rank + 4 * p.input_dim, shift);
  Room trained(p.user.bytes(), p.user.size(), shift);
  Room both(4 * std::max(p.input_dim, p.output_dim), shift);
  std::memcpy(both.bytes(), p.inputs.bytes(), 4 * p.input_dim);

  kernels.project(weights.base, p.rank, p.input_dim, p.inputs.floats(), hidden.floats());
  kernels.reflect(weights.user, p.output_dim, p.rank, p.preference.floats(), reflected.floats());
  kernels.forward(weights, p.inputs.floats(), one.floats(), out.floats());
  kernels.forward(weights, both.floats(), one.floats(), both.floats());
  const double score = kernels.score(weights, p.inputs.floats(), p.preference.floats(), two.floats());
  kernels.score_many(weights, p.inputs.floats(), p.count, p.preference.floats(), many.floats(), scores.floats());
  kernels.descend(trained.floats(), p.output_dim, p.rank, p.preference.floats(), hidden.floats());
  if (!p.tame) return;

  AllNear(exact.hidden, hidden);
  AllNear(exact.reflected, reflected);
  AllNear(exact.out, out);
  AllNear(exact.scores, scores);
  if (p.count > 0) CHECK(exact.scores[0].Near(score));
  // forward() may write where it read its input.
  CHECK(out.Is(both.bytes()));
  for (size_t i = 0; i < p.output_dim * p.rank; i++) {
    Sum step = Exact(p.user.floats()[i]);
    step.Add(-double{p.preference.floats()[i / p.rank]}, Exact(hidden.floats()[i % p.rank]));
    CHECK(step.Near(trained.floats()[i]));
  }
}

inline Room CopyOf(Room& room) { return Room(room.bytes(), room.size(), 0); }

inline void KeepsPromises(Problem& p, size_t shift) {
  const Reference exact(p);
  Room base = CopyOf(p.base), user = CopyOf(p.user), inputs = CopyOf(p.inputs), preference = CopyOf(p.preference);
  for (const lora_store::Kernels* kernels : AllPaths()) KeepsPromises(*kernels, p, exact, shift);
  CHECK(base.Is(p.base.bytes()) && user.Is(p.user.bytes()));
  CHECK(inputs.Is(p.inputs.bytes()) && preference.Is(p.preference.bytes()));
}

}  // namespace lora_store_test

#endif  // LORA_STORE_TEST_KERNELS_CHECK_H_
