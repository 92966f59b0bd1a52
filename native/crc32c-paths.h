// What the ways to compute a CRC-32C share, and the one that is compiled for another CPU than the rest.
#ifndef LORA_STORE_CRC32C_PATHS_H_
#define LORA_STORE_CRC32C_PATHS_H_

#include "crc32c.h"

namespace lora_store {

constexpr uint32_t kCrc32cPolynomial = 0x82f63b78u;  // Reflected.

// By VPCLMULQDQ and AVX-512; nullptr where this build has it not.
extern const Crc32cFunction kCrc32cFolding;

// The same of count f32, which are copied on the way; false when one is NaN or infinite. The multiplications hide behind
// the waiting for memory: 0.9 µs for 41 KB, and 0.8 for the sum alone (Zen 5).
extern bool (*const kCopyFolding)(const uint8_t* source, size_t count, uint8_t* target, uint32_t* crc);

}  // namespace lora_store

#endif  // LORA_STORE_CRC32C_PATHS_H_
