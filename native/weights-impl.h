// Weights on their way from one memory to another: as they are, or to and from half precision (IEEE 754 binary16, rounded to
// nearest even), each looked at on the way, so that it is read once. Included like kernels-impl.h, inside the namespace of
// each kind of lanes; the CPU's instructions and the arithmetic below give the same bits.

// False when one of count f32 is NaN or infinite. An exponent of all ones, and no other, carries into the sign bit; without
// a branch inside, compilers vectorise the loop.
inline bool CopyFinite(const uint8_t* source, size_t count, uint8_t* target) {
  uint32_t carry = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, source + 4 * i, sizeof bits);
    carry |= (bits & 0x7f800000u) + 0x00800000u;
    std::memcpy(target + 4 * i, &bits, sizeof bits);
  }
  return (carry & 0x80000000u) == 0;
}

// The same of weights that stay where they are.
inline bool Finite(const uint8_t* weights, size_t count) {
  uint32_t carry = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, weights + 4 * i, sizeof bits);
    carry |= (bits & 0x7f800000u) + 0x00800000u;
  }
  return (carry & 0x80000000u) == 0;
}

inline uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float Float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint16_t HalfOf(float value) {
  const uint32_t bits = Bits(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  uint32_t size = bits & 0x7fffffffu;
  if (size >= 0x47800000u) {
    size = 0x7c00u;  // From 2^16 on: infinity. No NaN comes here.
  } else if (size < 0x38800000u) {
    // Below 2^-14 a half counts steps of 2^-24, as the last bits of a float between 0.5 and 1 do: the addition rounds.
    size = Bits(Float(size) + 0.5f) - 0x3f000000u;
  } else {
    // The exponent's bias changes from 127 to 15; half a step is added, or a little less where that would round to odd.
    size = (size - (112u << 23) + 0xfffu + ((size >> 13) & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | size);
}

// Of a finite half.
inline float FloatOf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t size = half & 0x7fffu;
  if (size >= 0x0400u) return Float(sign | ((size << 13) + (112u << 23)));
  return Float(sign | Bits(static_cast<float>(size) * Float(0x33800000u)));  // Steps of 2^-24, exactly.
}

// An exponent of all ones, and no other, carries into the sign bit.
inline uint32_t HalfCarry(uint16_t half) { return (half & 0x7c00u) + 0x0400u; }

// False when a value became infinite: it is 65,520 or more.
inline bool ToHalf(const uint8_t* source, size_t count, uint8_t* target) {
  size_t i = 0;
  uint32_t carry = 0;
#if defined(LORA_STORE_F16C_LANES)
  __m128i carries = _mm_setzero_si128();
  for (; i + 8 <= count; i += 8) {
    __m256 floats;
    std::memcpy(&floats, source + 4 * i, sizeof floats);
    const __m128i halves = _mm256_cvtps_ph(floats, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m128i exponents = _mm_and_si128(halves, _mm_set1_epi16(0x7c00));
    carries = _mm_or_si128(carries, _mm_add_epi16(exponents, _mm_set1_epi16(0x0400)));
    std::memcpy(target + 2 * i, &halves, sizeof halves);
  }
  if ((_mm_movemask_epi8(carries) & 0xaaaa) != 0) return false;
#elif defined(LORA_STORE_NEON_LANES)
  for (; i + 4 <= count; i += 4) {
    float32x4_t floats;
    std::memcpy(&floats, source + 4 * i, sizeof floats);
    const uint16x4_t halves = vreinterpret_u16_f16(vcvt_f16_f32(floats));
    const uint16x4_t exponents = vand_u16(halves, vdup_n_u16(0x7c00));
    if (vmaxv_u16(exponents) == 0x7c00) return false;
    std::memcpy(target + 2 * i, &halves, sizeof halves);
  }
#endif
  for (; i < count; i++) {
    float value;
    std::memcpy(&value, source + 4 * i, sizeof value);
    const uint16_t half = HalfOf(value);
    carry |= HalfCarry(half);
    std::memcpy(target + 2 * i, &half, sizeof half);
  }
  return (carry & 0x8000u) == 0;
}

// False when a half is NaN or infinite; target is then of no use.
inline bool FromHalf(const uint8_t* source, size_t count, uint8_t* target) {
  size_t i = 0;
  uint32_t carry = 0;
#if defined(LORA_STORE_F16C_LANES)
  __m128i carries = _mm_setzero_si128();
  for (; i + 8 <= count; i += 8) {
    __m128i halves;
    std::memcpy(&halves, source + 2 * i, sizeof halves);
    const __m128i exponents = _mm_and_si128(halves, _mm_set1_epi16(0x7c00));
    carries = _mm_or_si128(carries, _mm_add_epi16(exponents, _mm_set1_epi16(0x0400)));
    const __m256 floats = _mm256_cvtph_ps(halves);
    std::memcpy(target + 4 * i, &floats, sizeof floats);
  }
  if ((_mm_movemask_epi8(carries) & 0xaaaa) != 0) return false;
#elif defined(LORA_STORE_NEON_LANES)
  for (; i + 4 <= count; i += 4) {
    uint16x4_t halves;
    std::memcpy(&halves, source + 2 * i, sizeof halves);
    if (vmaxv_u16(vand_u16(halves, vdup_n_u16(0x7c00))) == 0x7c00) return false;
    const float32x4_t floats = vcvt_f32_f16(vreinterpret_f16_u16(halves));
    std::memcpy(target + 4 * i, &floats, sizeof floats);
  }
#endif
  for (; i < count; i++) {
    uint16_t half;
    std::memcpy(&half, source + 2 * i, sizeof half);
    carry |= HalfCarry(half);
    const float value = FloatOf(half);
    std::memcpy(target + 4 * i, &value, sizeof value);
  }
  return (carry & 0x8000u) == 0;
}
