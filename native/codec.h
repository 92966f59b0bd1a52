// The bincode 1.3 record of an adapter, as bytes (docs/format.md). Promises: reads nothing outside [bytes, bytes + length),
// for any bytes and any length, at any alignment; never throws, never allocates. Answers with a code and the byte where
// it applies. The readable reference is src/adapter/portable.ts, and a test holds the two to the same answers.
#ifndef LORA_STORE_CODEC_H_
#define LORA_STORE_CODEC_H_

#include <cstddef>
#include <cstdint>

namespace lora_store {

// Of records and, from 13 on, of Redis entries (entry.h). The numbers are shared with src/adapter/corruption.ts, which has the words.
enum class Status : int {
  kOk = 0,
  kTruncated = 1,
  kUserIdLength = 2,
  kZeroDimension = 3,
  kLengthTooLarge = 4,
  kWeightCount = 5,
  kLayerRanks = 6,
  kRankField = 7,
  kScalingFactor = 8,
  kTrainingIterations = 9,
  kTrailingBytes = 10,
  kWeight = 11,
  kChecksum = 12,
  kEntryTruncated = 13,
  kEntryFormat = 14,
  kEntryLength = 15,
};

struct Result {
  Status status;
  size_t offset;  // Of the field at fault; meaningless with kOk.
};

// What a record says besides its weights. Integers above 2^53 - 1 are refused: JavaScript could not hold them.
struct Facts {
  uint64_t rank;
  uint64_t input_dim;
  uint64_t output_dim;
  float scaling_factor;
  uint64_t training_iterations;

  // Of facts that passed Inspect, where neither overflows.
  size_t base_count() const { return static_cast<size_t>(rank * input_dim); }
  size_t user_count() const { return static_cast<size_t>(rank * output_dim); }
};

constexpr uint64_t kMaxSafeInteger = (uint64_t{1} << 53) - 1;
constexpr size_t kUserIdBytes = 16;

// What a weight takes: a record holds f32; the half of a record, which only caches hold, holds binary16 (docs/format.md).
enum class Precision : size_t { kHalf = 2, kSingle = 4 };

// The CRC-32C that the bytes of a record continue, and what it must have become at their end.
struct Checksum {
  uint32_t seed;
  uint32_t expected;
};

// Checks everything but the weights, of which it has then proved that they lie inside the bytes.
Result Inspect(const uint8_t* bytes, size_t length, Precision precision, Facts* facts);

// Checks the weights of a record that passed Inspect, and the checksum unless that is nullptr.
Result Verify(const uint8_t* bytes, size_t length, const Facts& facts, const Checksum* checksum);

// Copies a record that passed Inspect, and in the same pass checks that every weight is finite, and the checksum unless
// that is nullptr. target holds length bytes; it is of no use after a failure.
Result Copy(const uint8_t* bytes, size_t length, const Facts& facts, const Checksum* checksum, uint8_t* target);

// Copy for the half of a record: target holds the EncodedSize() of its facts.
Result Expand(const uint8_t* bytes, size_t length, const Facts& facts, const Checksum* checksum, uint8_t* target);

// The half of a record that passed Inspect. target holds HalfSize() bytes. kWeight: a weight is too large for a half.
Result Halve(const uint8_t* bytes, size_t length, const Facts& facts, uint8_t* target);

// Bytes of the half of a record that passed Inspect.
size_t HalfSize(const Facts& facts);

// Bytes of a record with these dimensions; false when no memory could hold it. Dimensions may be anything.
bool EncodedSize(const Facts& facts, size_t* size);

// Writes a record of EncodedSize bytes, which overlap nothing that is read. base holds rank × input_dim weights, user
// output_dim × rank. After a failure target is of no use.
Result Encode(const Facts& facts, const uint8_t* user_id, const float* base, const float* user, uint8_t* target);

}  // namespace lora_store

#endif  // LORA_STORE_CODEC_H_
