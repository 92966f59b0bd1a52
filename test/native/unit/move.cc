// Verify, Copy, Expand, Halve and Encode: the bytes they write at any alignment, and the weight or the checksum they refuse.
#include <cmath>
#include <limits>

#include "../../../native/copy.h"
#include "../../../native/crc32c.h"
#include "../check.h"
#include "../paths.h"
#include "../records.h"

using namespace lora_store;
using namespace lora_store_test;

namespace {

// Dimensions whose layers end before, at and behind the pieces of 3,072 weights that copy.cc moves at once.
const Facts kShapes[] = {FactsOf(1, 1, 1), FactsOf(3, 7, 5), FactsOf(2, 19, 8), FactsOf(1, 3072, 3071), FactsOf(3, 1025, 1024)};

uint32_t SumOf(uint32_t seed, const uint8_t* bytes, size_t length) {
  return Crc32cNamed("tables")(seed, bytes, length);
}

Bytes Single(const Facts& facts) { return RecordOf(facts, Precision::kSingle); }
Bytes Half(const Facts& facts) { return RecordOf(facts, Precision::kHalf); }

void WritesTheSameAtEveryAlignment() {
  for (const Facts& facts : kShapes) {
    const Bytes single = Single(facts);
    const Bytes half = Half(facts);
    CHECK(HalfSize(facts) == half.size());
    const Checksum of_single{5, SumOf(5, single.data(), single.size())};
    const Checksum of_half{5, SumOf(5, half.data(), half.size())};
    for (size_t shift = 0; shift < 64; shift++) {
      Room from_single(single.data(), single.size(), shift);
      Room from_half(half.data(), half.size(), shift);
      const size_t other = shift * 5 + 3;
      Room copied(single.size(), other), expanded(single.size(), other), halved(half.size(), other);
      CHECK(Verify(from_single.bytes(), single.size(), facts, &of_single).status == Status::kOk);
      CHECK(Copy(from_single.bytes(), single.size(), facts, &of_single, copied.bytes()).status == Status::kOk);
      CHECK(Expand(from_half.bytes(), half.size(), facts, &of_half, expanded.bytes()).status == Status::kOk);
      CHECK(Halve(from_single.bytes(), single.size(), facts, halved.bytes()).status == Status::kOk);
      CHECK(copied.Is(single.data()) && expanded.Is(single.data()) && halved.Is(half.data()));
      CHECK(from_single.Is(single.data()) && from_half.Is(half.data()));
    }
  }
}

void WritesARecordFromItsParts() {
  const Bytes id(kUserIdBytes, 9);
  for (const Facts& facts : kShapes) {
    const Bytes expected = Single(facts);
    const std::vector<float> base = WeightsOf(facts.base_count());
    const std::vector<float> user = WeightsOf(facts.user_count());
    for (size_t shift = 0; shift < 64; shift++) {
      Room target(expected.size(), shift);
      CHECK(Encode(facts, id.data(), base.data(), user.data(), target.bytes()).status == Status::kOk);
      CHECK(target.Is(expected.data()));
    }
  }
}

template <typename T>
void Moved(Result (*move)(const uint8_t*, size_t, const Facts&, const Checksum*, uint8_t*), const Facts& facts,
           Bytes bytes, size_t at, T weight) {
  Put(bytes.data(), at, weight);
  Room source(bytes.data(), bytes.size(), at);
  Room target(Single(facts).size(), at >> 1);
  const Result result = move(source.bytes(), bytes.size(), facts, nullptr, target.bytes());
  CHECK(result.status == Status::kWeight && result.offset == at);

  const Checksum right{1, SumOf(1, bytes.data(), bytes.size())};
  const Result summed = move(source.bytes(), bytes.size(), facts, &right, target.bytes());
  CHECK(summed.status == Status::kWeight && summed.offset == at);
  // What the accident made of the weights is no news where the bytes are not those that were written.
  const Checksum wrong{1, right.expected ^ 0x80000000u};
  const Result damaged = move(source.bytes(), bytes.size(), facts, &wrong, target.bytes());
  CHECK(damaged.status == Status::kChecksum && damaged.offset == 0);

  // The first of two.
  Put(bytes.data(), Layout(facts, bytes.size() == HalfSize(facts) ? Precision::kHalf : Precision::kSingle).rank - sizeof weight, weight);
  Room two(bytes.data(), bytes.size(), at);
  const Result first = move(two.bytes(), bytes.size(), facts, nullptr, target.bytes());
  CHECK(first.status == Status::kWeight && first.offset == at);
}

// Each with the bits of its kind that differ most, on either side of zero.
const float kBadFloats[] = {std::nanf(""), -std::nanf("1"), HUGE_VALF, -HUGE_VALF};
const uint16_t kBadHalves[] = {0x7c00, 0xfc00, 0x7c01, 0xffff};

void EncodeRefuses(const Facts& facts, size_t layer, size_t i, float weight) {
  const Bytes id(kUserIdBytes, 9);
  std::vector<float> weights[] = {WeightsOf(facts.base_count()), WeightsOf(facts.user_count())};
  weights[layer][i] = weight;
  Room target(Single(facts).size(), i);
  const Result result = Encode(facts, id.data(), weights[0].data(), weights[1].data(), target.bytes());
  CHECK(result.status == Status::kWeight);
  CHECK(result.offset == (layer == 0 ? Layout::kBase : Layout(facts).user) + 4 * i);
}

// As Copy, without a target.
Result VerifyOnly(const uint8_t* bytes, size_t length, const Facts& facts, const Checksum* checksum, uint8_t*) {
  return Verify(bytes, length, facts, checksum);
}

void RefusesAWeight(const Facts& facts, size_t layer, size_t i, size_t kind) {
  const Layout single(facts);
  const Layout half(facts, Precision::kHalf);
  const size_t in_single = (layer == 0 ? Layout::kBase : single.user) + 4 * i;
  const size_t in_half = (layer == 0 ? Layout::kBase : half.user) + 2 * i;
  Moved(Copy, facts, Single(facts), in_single, kBadFloats[kind]);
  Moved(VerifyOnly, facts, Single(facts), in_single, kBadFloats[kind]);
  Moved(Expand, facts, Half(facts), in_half, kBadHalves[kind]);
  EncodeRefuses(facts, layer, i, kBadFloats[kind]);

  Bytes bytes = Single(facts);
  Room target(HalfSize(facts), i);
  for (const float weight : {kBadFloats[kind], 65520.0f, -65520.0f}) {
    Put(bytes.data(), in_single, weight);
    CHECK(Halve(bytes.data(), bytes.size(), facts, target.bytes()).status == Status::kWeight);
  }
  Put(bytes.data(), in_single, std::nextafterf(65520.0f, 0));
  CHECK(Halve(bytes.data(), bytes.size(), facts, target.bytes()).status == Status::kOk);
}

void RefusesAWeightWhereverItIs() {
  const Facts small = FactsOf(2, 19, 37);
  for (size_t kind = 0; kind < 4; kind++) {
    for (size_t i = 0; i < small.base_count(); i++) RefusesAWeight(small, 0, i, kind);
    for (size_t i = 0; i < small.user_count(); i++) RefusesAWeight(small, 1, i, kind);
  }
  const Facts pieces = FactsOf(3, 1025, 1024);
  for (const size_t i : {0, 1, 1535, 1536, 3070, 3071}) {
    RefusesAWeight(pieces, 0, i, i % 4);
    RefusesAWeight(pieces, 1, i, i % 4);
  }
}

// On lanes of every kind, also those that are not the best of this CPU.
void EveryPathSeesEveryWeight() {
  for (const Kernels* kernels : AllPaths()) {
    for (size_t count = 0; count < 70; count++) {
      std::vector<float> weights = WeightsOf(count + 1);
      for (size_t bad = 0; bad <= count; bad++) {
        for (const float kind : kBadFloats) {
          const float good = weights[bad];
          weights[bad] = kind;  // The last one lies behind the end.
          Room source(reinterpret_cast<const uint8_t*>(weights.data()), 4 * count, bad);
          Room target(4 * count, count);
          CHECK(kernels->finite(source.bytes(), count) == (bad == count));
          CHECK(kernels->copy_finite(source.bytes(), count, target.bytes()) == (bad == count));
          CHECK(target.Is(source.bytes()));
          weights[bad] = good;
        }
      }
    }
  }
}

void CopiesTheSameInPieces(size_t count, size_t bad, size_t target_at) {
  std::vector<float> weights = WeightsOf(count + 1);
  const bool finite = bad >= count;
  if (!finite) weights[bad] = std::nanf("");
  Room source(reinterpret_cast<const uint8_t*>(weights.data()), 4 * count, count);
  Room one(4 * count, target_at), other(4 * count, target_at + 1);
  RunningChecksum of_one{true, 7}, of_other{true, 7};
  CHECK(CopyWeights(source.bytes(), count, one.bytes(), &of_one) == finite);
  CHECK(CopyWeightsInPieces(source.bytes(), count, other.bytes(), &of_other) == finite);
  CHECK(one.Is(source.bytes()) && other.Is(source.bytes()));
  CHECK(of_one.value == of_other.value && of_one.value == SumOf(7, source.bytes(), 4 * count));
}

// Where the CPU can fold, the other way is for others; both give the same. What lies before the first whole line of the
// target goes first: it may be all there is, and the bad weight may be in it.
void CopiesTheSameInPieces() {
  for (const size_t count : {0, 1, 15, 16, 17, 63, 64, 65, 3071, 3072, 3073, 3087, 6200}) {
    for (size_t target_at = 0; target_at < 64; target_at += count < 100 ? 1 : 12) {
      for (const size_t bad : {count, count - 1, size_t{0}, size_t{9}}) CopiesTheSameInPieces(count, bad, target_at);
    }
  }
}

void RefusesAWrongChecksum() {
  for (const Facts& facts : kShapes) {
    const Bytes bytes = Single(facts);
    Room target(bytes.size(), 0);
    const uint32_t crc = SumOf(0, bytes.data(), bytes.size());
    for (uint32_t bit = 0; bit < 32; bit++) {
      const Checksum wrong{0, crc ^ 1u << bit};
      const Result result = Copy(bytes.data(), bytes.size(), facts, &wrong, target.bytes());
      CHECK(result.status == Status::kChecksum && result.offset == 0);
      CHECK(Verify(bytes.data(), bytes.size(), facts, &wrong).status == Status::kChecksum);
    }
    const Checksum elsewhere{1, crc};
    CHECK(Copy(bytes.data(), bytes.size(), facts, &elsewhere, target.bytes()).status == Status::kChecksum);
  }
}

}  // namespace

int main() {
  WritesTheSameAtEveryAlignment();
  WritesARecordFromItsParts();
  RefusesAWeightWhereverItIs();
  RefusesAWrongChecksum();
  EveryPathSeesEveryWeight();
  CopiesTheSameInPieces();
}
