#include "cpu.h"

#include <cstdint>

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define LORA_STORE_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif (defined(__aarch64__) || defined(_M_ARM64)) && defined(_WIN32)
#include <windows.h>
#endif

namespace lora_store {
namespace {

#if defined(LORA_STORE_X86)

struct Registers {
  uint32_t eax, ebx, ecx, edx;
};

Registers CpuId(uint32_t leaf) {
  Registers r{};
#if defined(_MSC_VER)
  int values[4];
  __cpuid(values, 0);
  if (static_cast<uint32_t>(values[0]) < leaf) return r;
  __cpuidex(values, static_cast<int>(leaf), 0);
  r = {static_cast<uint32_t>(values[0]), static_cast<uint32_t>(values[1]), static_cast<uint32_t>(values[2]),
       static_cast<uint32_t>(values[3])};
#else
  __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);  // Leaves zeros where the CPU has no such leaf.
#endif
  return r;
}

// Which registers the system saves when it switches threads.
uint64_t SavedRegisters() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low;
  uint32_t high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
#endif
}

bool Has(uint32_t flags, int bit) { return ((flags >> bit) & 1) != 0; }

Cpu Ask() {
  Cpu cpu;
  const Registers basic = CpuId(1);
  cpu.sse42 = Has(basic.ecx, 20);
  const bool osxsave = Has(basic.ecx, 27);
  if (!osxsave) return cpu;
  const uint64_t saved = SavedRegisters();
  const Registers extended = CpuId(7);
  const bool ymm = (saved & 0x6) == 0x6;
  const bool zmm = (saved & 0xe6) == 0xe6;
  cpu.avx2 = ymm && Has(extended.ebx, 5) && Has(basic.ecx, 12) && Has(basic.ecx, 29);
  cpu.avx512 = zmm && cpu.avx2 && Has(extended.ebx, 16) && Has(extended.ebx, 17) && Has(extended.ebx, 30) &&
               Has(extended.ebx, 31);
  cpu.vpclmulqdq = cpu.avx512 && cpu.sse42 && Has(basic.ecx, 1) && Has(extended.ecx, 10);
  return cpu;
}

#else

Cpu Ask() {
  Cpu cpu;
#if defined(__APPLE__) && defined(__aarch64__)
  cpu.crc = true;  // Every Apple CPU with arm64 macOS.
#elif defined(__aarch64__) && defined(__linux__)
  cpu.crc = (getauxval(AT_HWCAP) & (1UL << 7)) != 0;  // HWCAP_CRC32
#elif (defined(__aarch64__) || defined(_M_ARM64)) && defined(_WIN32)
  cpu.crc = IsProcessorFeaturePresent(31) != 0;  // PF_ARM_V8_CRC32_INSTRUCTIONS_AVAILABLE
#endif
  return cpu;
}

#endif

}  // namespace

const Cpu& TheCpu() {
  static const Cpu cpu = Ask();
  return cpu;
}

}  // namespace lora_store
