// The bincode 1.3 record of an adapter, as bytes (docs/format.md). Promises: reads nothing outside [bytes, bytes + length),
// for any bytes and any length, at any alignment; never throws, never allocates. Answers with a code and the byte where
// it applies. The readable reference is src/adapter/portable.ts, and a test holds the two to the same answers.
#ifndef LORA_STORE_CODEC_H_
#define LORA_STORE_CODEC_H_

#include <cstddef>
#include <cstdint>

namespace lora_store {

// The numbers are shared with src/adapter/corruption.ts, which has the words.
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
};

constexpr uint64_t kMaxSafeInteger = (uint64_t{1} << 53) - 1;
constexpr size_t kUserIdBytes = 16;

// Checks everything but the weights, of which it has then proved that they lie inside the bytes.
Result Inspect(const uint8_t* bytes, size_t length, Facts* facts);

// Copies a record that passed Inspect, and checks in the same pass that every weight is finite. target holds length bytes.
Result Copy(const uint8_t* bytes, size_t length, const Facts& facts, uint8_t* target);

// Bytes of a record with these dimensions; false when no memory could hold it. Dimensions may be anything.
bool EncodedSize(const Facts& facts, size_t* size);

// Writes a record of EncodedSize bytes. base holds rank × input_dim weights, user output_dim × rank. With kWeight the
// target is complete but must not be used.
Result Encode(const Facts& facts, const uint8_t* user_id, const float* base, const float* user, uint8_t* target);

}  // namespace lora_store

#endif  // LORA_STORE_CODEC_H_
