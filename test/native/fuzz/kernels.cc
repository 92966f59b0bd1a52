// The arithmetic on weights of any dimensions and any numbers, NaN and infinities too: nothing is touched outside the
// arrays, what is only read stays as it was, and where the numbers are finite every path keeps the bound of kernels.h.
//
// The input: ranks and dimensions, a shift for each array, which numbers to use; the rest are the numbers, over and over.
#include "../../../native/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../check.h"

using namespace lora_store;
using lora_store_test::Room;

namespace {

constexpr const char* kPaths[] = {"scalar", "avx2", "avx512", "neon"};

struct Source {
  const uint8_t* data;
  size_t length;
  size_t at = 0;

  uint8_t Byte() { return length == 0 ? 0 : data[at++ % length]; }
  size_t UpTo(size_t most) { return 1 + (Byte() | static_cast<size_t>(Byte()) << 8) % most; }

  // At any place where a float may lie. tame: from -2 to 2, else any bits.
  Room Floats(size_t count, bool tame) {
    Room room(4 * count, 4 * size_t{Byte()});
    for (size_t i = 0; i < count; i++) {
      uint32_t bits = Byte();
      for (int k = 1; k < 4; k++) bits = bits << 8 | Byte();
      if (tame) room.floats()[i] = static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-30f;
      else std::memcpy(room.bytes() + 4 * i, &bits, 4);
    }
    return room;
  }
};

// A sum and the sum of its absolute terms, in f64.
struct Sum {
  double value = 0;
  double size = 0;
  void Add(double term, double term_size) {
    value += term;
    size += term_size;
  }
  bool Near(double actual) const { return std::fabs(actual - value) <= 1e-5 * size + 1e-30; }
};

struct Reference {
  std::vector<Sum> hidden, reflected, out;
  std::vector<double> scores, sizes;
};

Reference Exactly(const Weights& w, const float* inputs, size_t count, const float* preference) {
  Reference r;
  r.hidden.resize(w.rank);
  r.reflected.resize(w.rank);
  r.out.resize(w.output_dim);
  for (size_t k = 0; k < w.rank; k++) {
    for (size_t j = 0; j < w.input_dim; j++) {
      const double term = double{w.base[k * w.input_dim + j]} * inputs[j];
      r.hidden[k].Add(term, std::fabs(term));
    }
    for (size_t i = 0; i < w.output_dim; i++) {
      const double term = double{w.user[i * w.rank + k]} * preference[i];
      r.reflected[k].Add(term, std::fabs(term));
    }
  }
  for (size_t i = 0; i < w.output_dim; i++) {
    for (size_t k = 0; k < w.rank; k++) {
      const double factor = double{w.scaling} * w.user[i * w.rank + k];
      r.out[i].Add(factor * r.hidden[k].value, std::fabs(factor) * r.hidden[k].size);
    }
  }
  for (size_t c = 0; c < count; c++) {
    double score = 0;
    double size = 0;
    for (size_t k = 0; k < w.rank; k++) {
      for (size_t j = 0; j < w.input_dim; j++) {
        const double term = double{w.scaling} * w.base[k * w.input_dim + j] * inputs[c * w.input_dim + j];
        score += term * r.reflected[k].value;
        size += std::fabs(term) * r.reflected[k].size;
      }
    }
    r.scores.push_back(score);
    r.sizes.push_back(size);
  }
  return r;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  Source source{data, length};
  const bool tame = source.Byte() % 4 != 0;
  const size_t rank = source.Byte() % 8 == 0 ? source.UpTo(200) : source.UpTo(33);
  const size_t input_dim = source.Byte() % 8 == 0 ? source.UpTo(600) : source.UpTo(70);
  const size_t output_dim = source.Byte() % 8 == 0 ? source.UpTo(300) : source.UpTo(70);
  const size_t count = source.UpTo(6) - 1;
  Room base = source.Floats(rank * input_dim, tame);
  Room user = source.Floats(output_dim * rank, tame);
  Room inputs = source.Floats(std::max(count, size_t{1}) * input_dim, tame);
  Room preference = source.Floats(output_dim, tame);
  const size_t shift = 4 * size_t{source.Byte()};
  const Weights weights{rank, input_dim, output_dim, tame ? 2.0f : source.Floats(1, false).floats()[0],
                        base.floats(), user.floats()};
  const Reference exact = Exactly(weights, inputs.floats(), count, preference.floats());

  for (const char* path : kPaths) {
    const Kernels* const kernels = KernelsNamed(path);
    if (kernels == nullptr) continue;
    // Each of exactly the size that kernels.h asks for.
    Room one(4 * rank, shift), two(8 * rank, shift), many(4 * (rank + input_dim), shift);
    Room out(4 * output_dim, shift), scores(4 * count, shift), hidden(4 * rank, shift), reflected(4 * rank, shift);
    kernels->forward(weights, inputs.floats(), one.floats(), out.floats());
    const double score = kernels->score(weights, inputs.floats(), preference.floats(), two.floats());
    kernels->score_many(weights, inputs.floats(), count, preference.floats(), many.floats(), scores.floats());
    kernels->project(base.floats(), rank, input_dim, inputs.floats(), hidden.floats());
    kernels->reflect(user.floats(), output_dim, rank, preference.floats(), reflected.floats());
    Room trained(user.bytes(), user.size(), shift);
    kernels->descend(trained.floats(), output_dim, rank, preference.floats(), hidden.floats());

    // forward() may write where it read its input.
    Room both(4 * std::max(input_dim, output_dim), shift);
    std::memcpy(both.bytes(), inputs.bytes(), 4 * input_dim);
    kernels->forward(weights, both.floats(), one.floats(), both.floats());
    if (!tame) continue;

    CHECK(std::memcmp(both.bytes(), out.bytes(), out.size()) == 0);
    for (size_t k = 0; k < rank; k++) {
      CHECK(exact.hidden[k].Near(hidden.floats()[k]));
      CHECK(exact.reflected[k].Near(reflected.floats()[k]));
    }
    for (size_t i = 0; i < output_dim; i++) CHECK(exact.out[i].Near(out.floats()[i]));
    for (size_t c = 0; c < count; c++) CHECK((Sum{exact.scores[c], exact.sizes[c]}.Near(scores.floats()[c])));
    if (count > 0) CHECK((Sum{exact.scores[0], exact.sizes[0]}.Near(score)));
    for (size_t i = 0; i < output_dim * rank; i++) {
      const double before = user.floats()[i];
      const double step = double{preference.floats()[i / rank]} * hidden.floats()[i % rank];
      CHECK((Sum{before - step, std::fabs(before) + std::fabs(step)}.Near(trained.floats()[i])));
    }
  }
  return 0;
}
