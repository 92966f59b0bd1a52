#include "entry.h"

#include <cstring>

#include "crc32c.h"

namespace lora_store {
namespace {

constexpr size_t kMagicBytes = 4;
constexpr size_t kChecksumAt = 4;
constexpr size_t kRevisionAt = 8;
constexpr size_t kXidAt = 16;
constexpr size_t kServerAt = 24;
constexpr size_t kUpdatedAtAt = 32;
constexpr size_t kVersionAt = 40;
constexpr size_t kBodyBytesAt = 44;

template <typename T>
T Load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

bool HasMagic(const uint8_t* bytes, const char* magic) { return std::memcmp(bytes, magic, kMagicBytes) == 0; }

}  // namespace

Result ReadEntryHeader(const uint8_t* bytes, size_t length, const uint8_t* key, size_t key_length,
                       EntryHeader* header) {
  if (length < kEntryHeaderBytes) return {Status::kEntryTruncated, length};
  const bool half = HasMagic(bytes, "LRH1");
  if (!half && !HasMagic(bytes, "LRS1")) return {Status::kEntryFormat, 0};
  if (Load<uint32_t>(bytes + kBodyBytesAt) != length - kEntryHeaderBytes) return {Status::kEntryLength, kBodyBytesAt};

  header->revision = Load<double>(bytes + kRevisionAt);
  header->xid = Load<double>(bytes + kXidAt);
  header->server = Load<double>(bytes + kServerAt);
  header->updated_at = Load<double>(bytes + kUpdatedAtAt);
  header->version = Load<uint32_t>(bytes + kVersionAt);
  header->precision = half ? Precision::kHalf : Precision::kSingle;
  // The key is in the checksum, so that a value copied under another key is refused.
  const uint32_t key_crc = Crc32c(0, key, key_length);
  header->checksum.seed = Crc32c(key_crc, bytes + kRevisionAt, kEntryHeaderBytes - kRevisionAt);
  header->checksum.expected = Load<uint32_t>(bytes + kChecksumAt);

  if (header->version != 0) return {Status::kOk, 0};
  if (length != kEntryHeaderBytes) return {Status::kEntryLength, kBodyBytesAt};
  if (header->checksum.seed != header->checksum.expected) return {Status::kChecksum, kChecksumAt};
  return {Status::kOk, 0};
}

}  // namespace lora_store
