// Weights on their way from one memory to another: each is looked at, and taken into a checksum, while its bytes are in the
// first-level cache. Promises: reads count weights and no more, writes as many, at any alignment, into memory that
// overlaps nothing that is read; false says that one of them is not finite, not where.
#ifndef LORA_STORE_COPY_H_
#define LORA_STORE_COPY_H_

#include <cstddef>
#include <cstdint>

namespace lora_store {

// A CRC-32C on its way; its value means nothing where none is wanted.
struct RunningChecksum {
  bool wanted;
  uint32_t value;
};

// f32 to f32.
bool CopyWeights(const uint8_t* source, size_t count, uint8_t* target, RunningChecksum* checksum);

// The same without folding (crc32c-paths.h), for the CPUs that cannot and for the test that compares the two.
bool CopyWeightsInPieces(const uint8_t* source, size_t count, uint8_t* target, RunningChecksum* checksum);

// Halves to f32.
bool ExpandWeights(const uint8_t* source, size_t count, uint8_t* target, RunningChecksum* checksum);

}  // namespace lora_store

#endif  // LORA_STORE_COPY_H_
