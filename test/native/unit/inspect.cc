// What Inspect says of a record with one thing wrong in it: which, and at which byte; and that it believes no length.
#include <cmath>
#include <limits>

#include "../check.h"
#include "../records.h"

using namespace lora_store;
using namespace lora_store_test;

namespace {

constexpr Precision kBoth[] = {Precision::kSingle, Precision::kHalf};
constexpr uint64_t kTooLarge = kMaxSafeInteger + 1;

Result Inspected(const Bytes& bytes, Precision precision, size_t shift = 0) {
  Room room(bytes.data(), bytes.size(), shift);
  Facts facts{};
  const Result result = Inspect(room.bytes(), room.size(), precision, &facts);
  CHECK(room.Is(bytes.data()));
  return result;
}

// Of a record of these facts with `value` at `at`.
template <typename T>
void Refuses(Precision precision, size_t at, T value, Status status, size_t offset) {
  Bytes bytes = RecordOf(FactsOf(3, 7, 5), precision);
  Put(bytes.data(), at, value);
  const Result result = Inspected(bytes, precision);
  CHECK(result.status == status);
  CHECK(result.offset == offset);
}

void TakesWhatIsRight() {
  for (const Precision precision : kBoth) {
    for (size_t shift = 0; shift < 64; shift++) {
      const Bytes bytes = RecordOf(FactsOf(3, 7, 5), precision);
      Room room(bytes.data(), bytes.size(), shift);
      Facts facts{};
      CHECK(Inspect(room.bytes(), room.size(), precision, &facts).status == Status::kOk);
      CHECK(facts.rank == 3 && facts.input_dim == 7 && facts.output_dim == 5);
      CHECK(facts.scaling_factor == 2.0f && facts.training_iterations == 7);
    }
    Bytes most = RecordOf(FactsOf(3, 7, 5), precision);
    Put(most.data(), Layout(21, 15, precision).iterations, kMaxSafeInteger);
    CHECK(Inspected(most, precision).status == Status::kOk);
  }
}

void NamesTheFieldAtFault() {
  for (const Precision precision : kBoth) {
    const Layout at(21, 15, precision);
    for (const uint64_t length : {uint64_t{0}, uint64_t{15}, uint64_t{17}, std::numeric_limits<uint64_t>::max()}) {
      Refuses(precision, 0, length, Status::kUserIdLength, 0);
    }
    for (const size_t dimension : {Layout::kRank, Layout::kInputDim, at.output_dim, at.user_cols}) {
      Refuses(precision, dimension, uint64_t{0}, Status::kZeroDimension, dimension);
    }
    for (const size_t length : {Layout::kRank, Layout::kInputDim, Layout::kBaseCount, at.output_dim, at.user_cols, at.user_count}) {
      Refuses(precision, length, kTooLarge, Status::kLengthTooLarge, length);
      Refuses(precision, length, std::numeric_limits<uint64_t>::max(), Status::kLengthTooLarge, length);
    }
    for (const uint64_t count : {0, 1, 20, 22, 42}) {
      Refuses(precision, Layout::kBaseCount, count, Status::kWeightCount, Layout::kBaseCount);
    }
    for (const uint64_t count : {0, 1, 14, 16, 30}) {
      Refuses(precision, at.user_count, count, Status::kWeightCount, at.user_count);
    }
    for (const uint64_t rank : {1, 2, 4}) {
      Refuses(precision, at.user_cols, rank, Status::kLayerRanks, at.user_cols);
      Refuses(precision, at.rank, rank, Status::kRankField, at.rank);
    }
    Refuses(precision, at.rank, uint64_t{0}, Status::kRankField, at.rank);
    for (const float scaling : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
      Refuses(precision, at.scaling, scaling, Status::kScalingFactor, at.scaling);
    }
    Refuses(precision, at.iterations, kTooLarge, Status::kTrainingIterations, at.iterations);
  }
}

void NamesTheFieldThatIsCut() {
  for (const Precision precision : kBoth) {
    const Bytes whole = RecordOf(FactsOf(3, 7, 5), precision);
    const Layout at(21, 15, precision);
    const size_t fields[] = {0, 8, Layout::kRank, Layout::kInputDim, Layout::kBaseCount, Layout::kBase, at.output_dim,
                             at.user_cols, at.user_count, at.user, at.rank, at.scaling, at.iterations};
    for (size_t length = 0; length < whole.size(); length++) {
      size_t cut = 0;
      for (const size_t field : fields) cut = field <= length ? field : cut;
      const Result result = Inspected(Bytes(whole.begin(), whole.begin() + static_cast<long>(length)), precision, length);
      CHECK(result.status == Status::kTruncated);
      CHECK(result.offset == cut);
    }
    for (size_t extra = 1; extra < 20; extra++) {
      Bytes more = whole;
      more.resize(whole.size() + extra);
      const Result result = Inspected(more, precision);
      CHECK(result.status == Status::kTrailingBytes);
      CHECK(result.offset == whole.size());
    }
  }
}

// Dimensions whose products, counted in 64 bits, come out as something else.
void BelievesNoLength() {
  struct Case {
    uint64_t rows, cols, count;
    Status status;
    size_t offset;
  };
  const Case cases[] = {
      {uint64_t{1} << 52, uint64_t{1} << 12, 0, Status::kWeightCount, Layout::kBaseCount},
      {(uint64_t{1} << 32) + 1, (uint64_t{1} << 32) + 1, (uint64_t{1} << 33) + 1, Status::kWeightCount, Layout::kBaseCount},
      {1, kMaxSafeInteger, kMaxSafeInteger, Status::kTruncated, Layout::kBase},
      {kMaxSafeInteger, 1, kMaxSafeInteger, Status::kTruncated, Layout::kBase},
      {uint64_t{1} << 26, uint64_t{1} << 26, uint64_t{1} << 52, Status::kTruncated, Layout::kBase},
      {1, 1000, 1000, Status::kTruncated, Layout::kBase},
  };
  for (const Precision precision : kBoth) {
    for (const Case& hostile : cases) {
      Bytes bytes = RecordOf(FactsOf(3, 7, 5), precision);
      Put(bytes.data(), Layout::kRank, hostile.rows);
      Put(bytes.data(), Layout::kInputDim, hostile.cols);
      Put(bytes.data(), Layout::kBaseCount, hostile.count);
      const Result result = Inspected(bytes, precision);
      CHECK(result.status == hostile.status);
      CHECK(result.offset == hostile.offset);
    }
  }
}

void SizesNoRecordThatNoMemoryHolds() {
  const auto fits = [](uint64_t rank, uint64_t input_dim, uint64_t output_dim, size_t expected) {
    size_t size = 0;
    return EncodedSize(FactsOf(rank, input_dim, output_dim), &size) && size == expected;
  };
  const auto refused = [](uint64_t rank, uint64_t input_dim, uint64_t output_dim) {
    size_t size = 0;
    return !EncodedSize(FactsOf(rank, input_dim, output_dim), &size);
  };
  constexpr uint64_t kMost = (std::numeric_limits<size_t>::max() - 92) / 4;
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  CHECK(fits(1, 1, 1, 100));
  CHECK(fits(8, 512, 768, 41052));
  CHECK(fits(kMost / 2, 1, 1, 92 + 8 * (kMost / 2)));
  CHECK(refused(kMost / 2 + 1, 1, 1));
  CHECK(refused(kHuge, 1, 1) && refused(1, kHuge, 1) && refused(1, 1, kHuge));
  CHECK(refused(1, kTooLarge, 1) && refused(1, 1, kTooLarge));
  CHECK(refused(0, 1, 1) && refused(1, 0, 1) && refused(1, 1, 0));
  // Modulo 2^64 these make no weights at all.
  CHECK(refused(uint64_t{1} << 52, uint64_t{1} << 12, uint64_t{1} << 12));
}

}  // namespace

int main() {
  TakesWhatIsRight();
  NamesTheFieldAtFault();
  NamesTheFieldThatIsCut();
  BelievesNoLength();
  SizesNoRecordThatNoMemoryHolds();
}
