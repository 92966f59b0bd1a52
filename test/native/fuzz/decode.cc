// Any bytes as a record. What is refused says where, within the bytes; what is accepted is copied as it is, is written
// again from its parts to the same bytes, and the checksum decides as it should.
#include <cmath>

#include "../../../native/codec.h"
#include "../../../native/copy.h"
#include "../../../native/crc32c.h"
#include "../check.h"
#include "../records.h"

using namespace lora_store;
using lora_store_test::Layout;
using lora_store_test::Room;

namespace {

void EncodesAgain(const Facts& facts, Room& record) {
  size_t size = 0;
  CHECK(EncodedSize(facts, &size));
  CHECK(size == record.size());
  Room base(record.bytes() + Layout::kBase, 4 * facts.base_count(), 0);
  Room user(record.bytes() + Layout(facts).user, 4 * facts.user_count(), 0);
  Room again(size, size);
  CHECK(Encode(facts, record.bytes() + 8, base.floats(), user.floats(), again.bytes()).status == Status::kOk);
  CHECK(again.Is(record.bytes()));
}

void RefusesAWeight(Room& record, size_t offset) {
  CHECK(offset >= Layout::kBase && offset + 4 <= record.size());
  float weight;
  std::memcpy(&weight, record.bytes() + offset, 4);
  CHECK(!std::isfinite(weight));
}

// With folding and without it: the same answer, the same bytes, the same checksum.
void CopiesBothWays(const uint8_t* weights, size_t count, uint32_t seed) {
  Room folded(4 * count, seed);
  Room pieced(4 * count, seed >> 8);
  RunningChecksum one{true, seed};
  RunningChecksum other{true, seed};
  const bool finite = CopyWeights(weights, count, folded.bytes(), &one);
  CHECK(CopyWeightsInPieces(weights, count, pieced.bytes(), &other) == finite);
  CHECK(one.value == other.value);
  CHECK(folded.Is(weights) && pieced.Is(weights));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  Room bytes(data, length, length >> 3);
  Facts facts{};
  const Result inspected = Inspect(bytes.bytes(), length, Precision::kSingle, &facts);
  CHECK(bytes.Is(data));
  if (inspected.status != Status::kOk) {
    CHECK(inspected.status < Status::kWeight);
    CHECK(inspected.offset <= length);
    return 0;
  }

  const uint32_t seed = static_cast<uint32_t>(length) * 2654435761u;
  const uint32_t crc = Crc32c(seed, bytes.bytes(), length);
  CHECK(crc == Crc32cNamed("tables")(seed, bytes.bytes(), length));

  CopiesBothWays(bytes.bytes() + Layout::kBase, facts.base_count(), seed);

  Room copy(length, length >> 1);
  const Result copied = Copy(bytes.bytes(), length, facts, nullptr, copy.bytes());
  const Checksum right{seed, crc};
  Room summed(length, length >> 2);
  const Result checked = Copy(bytes.bytes(), length, facts, &right, summed.bytes());
  CHECK(checked.status == copied.status);
  const Result in_place = Verify(bytes.bytes(), length, facts, nullptr);
  CHECK(in_place.status == copied.status && (copied.status == Status::kOk || in_place.offset == copied.offset));
  CHECK(Verify(bytes.bytes(), length, facts, &right).status == copied.status);
  const Checksum wrong{seed, crc ^ (1u << (length % 32))};
  const Result refused = Copy(bytes.bytes(), length, facts, &wrong, summed.bytes());
  CHECK(refused.status == Status::kChecksum && refused.offset == 0);
  CHECK(Verify(bytes.bytes(), length, facts, &wrong).status == Status::kChecksum);
  CHECK(bytes.Is(data));

  if (copied.status == Status::kOk) {
    CHECK(copy.Is(data));
    EncodesAgain(facts, copy);
  } else {
    CHECK(copied.status == Status::kWeight && checked.offset == copied.offset);
    RefusesAWeight(bytes, copied.offset);
  }
  return 0;
}
