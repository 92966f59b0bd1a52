// Any bytes as a Redis entry under a key. What is refused says where, within the entry; what is accepted says what its bytes
// say, and its body is as the checksum decides, whichever the precision.
#include "../../../native/crc32c.h"
#include "../../../native/entry.h"
#include "../check.h"

using namespace lora_store;
using lora_store_test::Room;

namespace {

Result ReadBody(const uint8_t* body, size_t length, const EntryHeader& header) {
  Facts facts{};
  const Result inspected = Inspect(body, length, header.precision, &facts);
  if (inspected.status != Status::kOk) return inspected;
  size_t size = 0;
  CHECK(EncodedSize(facts, &size));
  Room record(size, length >> 3);
  const auto move = header.precision == Precision::kHalf ? Expand : Copy;
  return move(body, length, facts, &header.checksum, record.bytes());
}

}  // namespace

// The first byte is the length of the key, which the next ones are.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t key_length = data[0] < size ? data[0] : size - 1;
  Room key(data + 1, key_length, size);
  const uint8_t* const rest = data + 1 + key_length;
  const size_t length = size - 1 - key_length;
  Room entry(rest, length, size >> 3);
  // Checksums are not guessed: every other input is given the right one.
  if (length >= kEntryHeaderBytes && size % 2 == 0) {
    const auto tables = Crc32cNamed("tables");
    const uint32_t crc = tables(tables(0, key.bytes(), key_length), rest + 8, length - 8);
    std::memcpy(entry.bytes() + 4, &crc, sizeof crc);
  }

  EntryHeader header{};
  const Result result = ReadEntryHeader(entry.bytes(), length, key.bytes(), key_length, &header);
  CHECK(result.offset <= length);
  if (result.status != Status::kOk) {
    CHECK(result.status == Status::kEntryTruncated ? length < kEntryHeaderBytes : length >= kEntryHeaderBytes);
    return 0;
  }
  CHECK(std::memcmp(&header.revision, entry.bytes() + 8, 8) == 0);
  CHECK(std::memcmp(&header.version, entry.bytes() + 40, 4) == 0);
  const size_t body_length = length - kEntryHeaderBytes;
  if (header.version == 0) {
    CHECK(body_length == 0 && header.checksum.seed == header.checksum.expected);
    return 0;
  }
  const Result body = ReadBody(entry.bytes() + kEntryHeaderBytes, body_length, header);
  if (size % 2 == 0) CHECK(body.status != Status::kChecksum);
  CHECK(body.status == Status::kOk || body.offset <= body_length);
  return 0;
}
