// CRC-32C (Castagnoli): the checksum of iSCSI, ext4 and LevelDB, which x86-64 (SSE4.2) and ARMv8 compute in hardware.
#ifndef LORA_STORE_CRC32C_H_
#define LORA_STORE_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace lora_store {

// CRC of bytes that continue those whose CRC is seed; 0 starts one. Picks the instruction where this CPU has it. Any
// alignment; safe from any thread.
uint32_t Crc32c(uint32_t seed, const uint8_t* bytes, size_t length);

// The same from tables alone, for the CPUs without the instruction and for the test that compares the two.
uint32_t Crc32cPortable(uint32_t seed, const uint8_t* bytes, size_t length);

}  // namespace lora_store

#endif  // LORA_STORE_CRC32C_H_
