// Any bytes as the half of a record, and the half of any record. What is expanded is a record, whose half is the bytes it
// came from; and every path rounds to the same bits.
#include <cmath>

#include "../../../native/codec.h"
#include "../../../native/crc32c.h"
#include "../check.h"
#include "../paths.h"
#include "../records.h"

using namespace lora_store;
using lora_store_test::AllPaths;
using lora_store_test::Layout;
using lora_store_test::Room;

namespace {

void PathsAgree(Room& from, size_t from_bytes, size_t to_bytes, size_t count, bool (*Kernels::*convert)(const uint8_t*, size_t, uint8_t*)) {
  Room expected(to_bytes * count, 0);
  const bool good = (KernelsNamed("scalar")->*convert)(from.bytes(), count, expected.bytes());
  for (const Kernels* kernels : AllPaths()) {
    Room actual(to_bytes * count, from_bytes * count + 1);
    CHECK((kernels->*convert)(from.bytes(), count, actual.bytes()) == good);
    CHECK(!good || actual.Is(expected.bytes()));
  }
}

// The record in `half`, whose facts passed Inspect; its half is half again.
void Expands(Room& half, const Facts& facts) {
  const uint32_t crc = Crc32cNamed("tables")(7, half.bytes(), half.size());
  const Checksum right{7, crc};
  const Checksum wrong{7, ~crc};
  size_t size = 0;
  CHECK(EncodedSize(facts, &size) && HalfSize(facts) == half.size());
  Room record(size, half.size());
  CHECK(Expand(half.bytes(), half.size(), facts, &wrong, record.bytes()).status == Status::kChecksum);
  const Result expanded = Expand(half.bytes(), half.size(), facts, &right, record.bytes());
  PathsAgree(half, 2, 4, half.size() / 2, &Kernels::from_half);
  if (expanded.status != Status::kOk) {
    CHECK(expanded.status == Status::kWeight);
    CHECK(expanded.offset >= Layout::kBase && expanded.offset + 2 <= half.size());
    CHECK((half.bytes()[expanded.offset + 1] & 0x7c) == 0x7c);
    return;
  }

  Facts again{};
  CHECK(Inspect(record.bytes(), size, Precision::kSingle, &again).status == Status::kOk);
  CHECK(again.rank == facts.rank && again.input_dim == facts.input_dim && again.output_dim == facts.output_dim);
  CHECK(again.training_iterations == facts.training_iterations);
  Room back(half.size(), size);
  CHECK(Halve(record.bytes(), size, facts, back.bytes()).status == Status::kOk);
  CHECK(back.Is(half.bytes()));
}

void Halves(Room& record, const Facts& facts) {
  Room copy(record.size(), 3);
  const bool finite = Copy(record.bytes(), record.size(), facts, nullptr, copy.bytes()).status == Status::kOk;
  Room half(HalfSize(facts), record.size() >> 2);
  const Result halved = Halve(record.bytes(), record.size(), facts, half.bytes());
  PathsAgree(record, 4, 2, record.size() / 4, &Kernels::to_half);
  CHECK(halved.status == Status::kOk || halved.status == Status::kWeight);
  CHECK(finite || halved.status == Status::kWeight);
  if (halved.status != Status::kOk) return;
  Facts again{};
  CHECK(Inspect(half.bytes(), half.size(), Precision::kHalf, &again).status == Status::kOk);
  Expands(half, again);

  // Half a step of eleven bits, or of the smallest step there is.
  Room rounded(record.size(), 1);
  CHECK(Expand(half.bytes(), half.size(), facts, nullptr, rounded.bytes()).status == Status::kOk);
  const size_t user_at = Layout(facts).user;
  for (size_t i = 0; i < facts.base_count() + facts.user_count(); i++) {
    const size_t at = i < facts.base_count() ? Layout::kBase + 4 * i : user_at + 4 * (i - facts.base_count());
    float before;
    float after;
    std::memcpy(&before, record.bytes() + at, 4);
    std::memcpy(&after, rounded.bytes() + at, 4);
    const double bound = std::fmax(std::ldexp(std::fabs(double{before}), -11), std::ldexp(1.0, -25));
    CHECK(std::fabs(double{before} - double{after}) <= bound);
    CHECK(std::signbit(before) == std::signbit(after));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  Room bytes(data, length, length >> 3);
  Facts facts{};
  const Result half = Inspect(bytes.bytes(), length, Precision::kHalf, &facts);
  CHECK(half.status == Status::kOk || half.offset <= length);
  if (half.status == Status::kOk) Expands(bytes, facts);
  if (Inspect(bytes.bytes(), length, Precision::kSingle, &facts).status == Status::kOk) Halves(bytes, facts);
  CHECK(bytes.Is(data));
  return 0;
}
