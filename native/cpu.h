// What this CPU, and the system that saves its registers, can run. Asked of the CPU itself: the compilers' own functions
// for it live in a runtime library that not every toolchain links.
#ifndef LORA_STORE_CPU_H_
#define LORA_STORE_CPU_H_

namespace lora_store {

struct Cpu {
  bool sse42 = false;   // x86-64: the CRC-32C instruction.
  bool avx2 = false;    // With FMA and F16C, as every CPU with AVX2 has had.
  bool avx512 = false;  // F, VL, BW and DQ, of all server CPUs with AVX-512.
  bool vpclmulqdq = false;  // On registers of AVX-512, which it comes with.
  bool crc = false;     // ARMv8: the CRC-32C instruction. Its NEON needs no asking.
};

// Safe from any thread; asked once.
const Cpu& TheCpu();

}  // namespace lora_store

#endif  // LORA_STORE_CPU_H_
