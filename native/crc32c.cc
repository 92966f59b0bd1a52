#include "crc32c.h"

#include <array>
#include <cstring>

#include "cpu.h"
#include "crc32c-paths.h"

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define LORA_STORE_CRC_X86 1
#include <nmmintrin.h>
#if defined(_MSC_VER)
#include <intrin.h>
#define LORA_STORE_CRC_TARGET
#else
// Two names for one thing: a clang that was told of a baseline without crc32 does not take it from sse4.2.
#define LORA_STORE_CRC_TARGET __attribute__((target("sse4.2,crc32")))
#endif
#elif (defined(__aarch64__) || defined(_M_ARM64)) && !defined(__AARCH64EB__)
#define LORA_STORE_CRC_ARM 1
#if defined(__clang__)
#define LORA_STORE_CRC_TARGET __attribute__((target("crc")))
#elif defined(_MSC_VER)
#include <intrin.h>
#define LORA_STORE_CRC_TARGET
#else
#include <arm_acle.h>
#define LORA_STORE_CRC_TARGET __attribute__((target("+crc")))
#endif
#endif

namespace lora_store {
namespace {

// The instruction takes three cycles but a new one can start each cycle: three lanes of this many bytes run at once.
// Shorter lanes pay for joining them, longer ones leave more of a 41 KB record to the single lane behind.
constexpr size_t kLaneBytes = 512;

using Table = std::array<uint32_t, 256>;

struct Tables {
  std::array<Table, 8> slice;  // slice[k][b]: what byte b contributes when k bytes follow it in a step of eight.
  std::array<Table, 4> skip;   // skip[k][b]: byte k of a CRC, moved over kLaneBytes zero bytes.
};

uint32_t OneByte(const Tables& tables, uint32_t crc, uint8_t byte) {
  return tables.slice[0][(crc ^ byte) & 0xff] ^ (crc >> 8);
}

Tables BuildTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >> 1) ^ kCrc32cPolynomial : crc >> 1;
    tables.slice[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; k++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint32_t shorter = tables.slice[k - 1][byte];
      tables.slice[k][byte] = tables.slice[0][shorter & 0xff] ^ (shorter >> 8);
    }
  }
  for (size_t k = 0; k < 4; k++) {
    // Linear: the eight single bits of a byte give all the others.
    for (uint32_t bit = 1; bit < 256; bit <<= 1) {
      uint32_t crc = bit << (8 * k);
      for (size_t i = 0; i < kLaneBytes; i++) crc = OneByte(tables, crc, 0);
      for (uint32_t lower = 0; lower < bit; lower++) tables.skip[k][bit | lower] = crc ^ tables.skip[k][lower];
    }
  }
  return tables;
}

const Tables& TheTables() {
  static const Tables tables = BuildTables();
  return tables;
}

uint64_t Load64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

#if defined(LORA_STORE_CRC_X86) || defined(LORA_STORE_CRC_ARM)

#if defined(LORA_STORE_CRC_X86)
LORA_STORE_CRC_TARGET inline uint32_t Step8(uint32_t crc, uint64_t bytes) {
  return static_cast<uint32_t>(_mm_crc32_u64(crc, bytes));
}
LORA_STORE_CRC_TARGET inline uint32_t Step1(uint32_t crc, uint8_t byte) { return _mm_crc32_u8(crc, byte); }

bool HasInstruction() { return TheCpu().sse42; }
#else
#if defined(__clang__)  // Before 16 its arm_acle.h hides these where the whole file is not compiled for them.
LORA_STORE_CRC_TARGET inline uint32_t Step8(uint32_t crc, uint64_t bytes) { return __builtin_arm_crc32cd(crc, bytes); }
LORA_STORE_CRC_TARGET inline uint32_t Step1(uint32_t crc, uint8_t byte) { return __builtin_arm_crc32cb(crc, byte); }
#else
LORA_STORE_CRC_TARGET inline uint32_t Step8(uint32_t crc, uint64_t bytes) { return __crc32cd(crc, bytes); }
LORA_STORE_CRC_TARGET inline uint32_t Step1(uint32_t crc, uint8_t byte) { return __crc32cb(crc, byte); }
#endif

bool HasInstruction() { return TheCpu().crc; }
#endif

uint32_t SkipLane(const Tables& tables, uint32_t crc) {
  return tables.skip[0][crc & 0xff] ^ tables.skip[1][(crc >> 8) & 0xff] ^ tables.skip[2][(crc >> 16) & 0xff] ^
         tables.skip[3][crc >> 24];
}

LORA_STORE_CRC_TARGET uint32_t Crc32cInstruction(uint32_t seed, const uint8_t* bytes, size_t length) {
  uint32_t crc = ~seed;
  if (length >= 3 * kLaneBytes) {
    const Tables& tables = TheTables();
    do {
      uint32_t second = 0;
      uint32_t third = 0;
      for (size_t i = 0; i < kLaneBytes; i += 8) {
        crc = Step8(crc, Load64(bytes + i));
        second = Step8(second, Load64(bytes + kLaneBytes + i));
        third = Step8(third, Load64(bytes + 2 * kLaneBytes + i));
      }
      crc = SkipLane(tables, SkipLane(tables, crc) ^ second) ^ third;
      bytes += 3 * kLaneBytes;
      length -= 3 * kLaneBytes;
    } while (length >= 3 * kLaneBytes);
  }
  for (; length >= 8; bytes += 8, length -= 8) crc = Step8(crc, Load64(bytes));
  for (; length > 0; bytes++, length--) crc = Step1(crc, *bytes);
  return ~crc;
}

#endif

uint32_t Crc32cTables(uint32_t seed, const uint8_t* bytes, size_t length) {
  const Tables& tables = TheTables();
  const auto& slice = tables.slice;
  uint32_t crc = ~seed;
  for (; length >= 8; bytes += 8, length -= 8) {
    const uint64_t word = Load64(bytes) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; i++) crc ^= slice[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; length > 0; bytes++, length--) crc = OneByte(tables, crc, *bytes);
  return ~crc;
}

Crc32cFunction Choose() {
  for (const char* const name : {"folding", "instruction"}) {
    const Crc32cFunction function = Crc32cNamed(name);
    if (function != nullptr) return function;
  }
  return Crc32cTables;
}

}  // namespace

Crc32cFunction Crc32cNamed(std::string_view name) {
  if (name == "folding") return TheCpu().vpclmulqdq ? kCrc32cFolding : nullptr;
#if defined(LORA_STORE_CRC_X86) || defined(LORA_STORE_CRC_ARM)
  if (name == "instruction") return HasInstruction() ? Crc32cInstruction : nullptr;
#endif
  return name == "tables" ? Crc32cTables : nullptr;
}

uint32_t Crc32c(uint32_t seed, const uint8_t* bytes, size_t length) {
  static const Crc32cFunction best = Choose();
  return best(seed, bytes, length);
}

}  // namespace lora_store
