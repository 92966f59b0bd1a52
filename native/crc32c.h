// CRC-32C (Castagnoli): the checksum of iSCSI, ext4 and LevelDB, which x86-64 (SSE4.2) and ARMv8 compute in hardware.
#ifndef LORA_STORE_CRC32C_H_
#define LORA_STORE_CRC32C_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lora_store {

// CRC of bytes that continue those whose CRC is seed; 0 starts one. Any alignment; safe from any thread.
using Crc32cFunction = uint32_t (*)(uint32_t seed, const uint8_t* bytes, size_t length);

// By the fastest way that this CPU has.
uint32_t Crc32c(uint32_t seed, const uint8_t* bytes, size_t length);

// By name, for the tests that compare them: "folding", "instruction", "tables". nullptr where this CPU or this build has no such.
Crc32cFunction Crc32cNamed(std::string_view name);

}  // namespace lora_store

#endif  // LORA_STORE_CRC32C_H_
