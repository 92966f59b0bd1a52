// The maths of kernels.h, written once, for kLanes floats at a time. Included by one file for each kind of lanes, which is
// compiled for that CPU, inside a namespace of its own: a function that two of them shared would be linked from either.
// No include guard, and nothing of the standard library that compiles to a function, but memcpy, for the same reason.
//
// Rounding: a lane adds at most kTerms products in f32 before it is added to a total in f64, so that the error stays below
// (kTerms + log2 of what is joined + 1) · 2^-24 < 1e-5 of the sum of the absolute products, however long the sum is, and as
// long as products and sums are within what f32 holds: 1e-38 to 3e38.

// GCC has this builtin since version 12. Without it short rows are summed one by one.
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)
#define LORA_STORE_SHUFFLES 1
#endif

constexpr size_t kTerms = 64;
constexpr size_t kChains = 4;  // Sums side by side: an addition takes four cycles, and two can begin in each.

#if defined(__GNUC__)
template <size_t kWidth>
struct Lanes {
  typedef float Type __attribute__((vector_size(kWidth * sizeof(float))));
};
#else
template <size_t kWidth>
struct Lanes;
#endif
template <>
struct Lanes<1> {
  typedef float Type;
};

template <size_t kWidth>
using Vec = typename Lanes<kWidth>::Type;

template <size_t kWidth>
inline Vec<kWidth> Load(const float* from) {
  Vec<kWidth> value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <size_t kWidth>
inline void Store(float* to, Vec<kWidth> value) {
  std::memcpy(to, &value, sizeof value);
}

// The sum of all lanes: halves are added until one is left.
template <size_t kWidth>
inline float Total(Vec<kWidth> value) {
  if constexpr (kWidth == 1) {
    return value;
  } else {
    float lanes[kWidth];
    Store<kWidth>(lanes, value);
    return Total<kWidth / 2>(Load<kWidth / 2>(lanes) + Load<kWidth / 2>(lanes + kWidth / 2));
  }
}

// Σ a[i]·x[i] for i below count.
template <size_t kWidth>
inline double Dot(const float* a, const float* x, size_t count) {
  constexpr size_t kStep = kWidth * kChains;
  double total = 0;
  size_t i = 0;
  while (i + kStep <= count) {
    const size_t end = count - i < kTerms * kStep ? count : i + kTerms * kStep;
    Vec<kWidth> sums[kChains] = {};
    for (; i + kStep <= end; i += kStep) {
      for (size_t k = 0; k < kChains; k++) {
        sums[k] += Load<kWidth>(a + i + k * kWidth) * Load<kWidth>(x + i + k * kWidth);
      }
    }
    total += Total<kWidth>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
  if constexpr (kWidth > 1) return total + Dot<kWidth / 2>(a + i, x + i, count - i);
  for (; i < count; i++) total += a[i] * x[i];
  return total;
}

// out[col] = factor · Σ p[row]·m[row][col], for as many columns as whole lanes hold, from `col` on. Returns where it ended.
template <size_t kWidth>
inline size_t Columns(const float* m, size_t rows, size_t cols, const float* p, double factor, float* out, size_t col) {
  for (; col + kWidth <= cols; col += kWidth) {
    double totals[kWidth] = {};
    for (size_t row = 0; row < rows;) {
      const size_t end = rows - row < kTerms * kChains ? rows : row + kTerms * kChains;
      Vec<kWidth> sums[kChains] = {};
      for (; row + kChains <= end; row += kChains) {
        for (size_t k = 0; k < kChains; k++) sums[k] += p[row + k] * Load<kWidth>(m + (row + k) * cols + col);
      }
      for (; row < end; row++) sums[0] += p[row] * Load<kWidth>(m + row * cols + col);
      float lanes[kWidth];
      Store<kWidth>(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
      for (size_t lane = 0; lane < kWidth; lane++) totals[lane] += lanes[lane];
    }
    for (size_t lane = 0; lane < kWidth; lane++) out[col + lane] = static_cast<float>(factor * totals[lane]);
  }
  if constexpr (kWidth > 1) return Columns<kWidth / 2>(m, rows, cols, p, factor, out, col);
  return col;
}

#if defined(LORA_STORE_SHUFFLES)
template <size_t kWidth, size_t... kI>
inline Vec<kWidth> PairSums(Vec<kWidth> a, Vec<kWidth> b, std::index_sequence<kI...>) {
  return __builtin_shufflevector(a, b, (2 * kI)...) + __builtin_shufflevector(a, b, (2 * kI + 1)...);
}

// Lane i of the result is the sum of rows[i].
template <size_t kWidth>
inline Vec<kWidth> Totals(Vec<kWidth>* rows) {
  for (size_t count = kWidth; count > 1; count /= 2) {
    for (size_t i = 0; i < count / 2; i++) {
      rows[i] = PairSums<kWidth>(rows[2 * i], rows[2 * i + 1], std::make_index_sequence<kWidth>());
    }
  }
  return rows[0];
}
#endif

// out[row] = factor · Σ m[row][j]·x[j]. Rows that are shorter than a cache line, as B's are: kWidth of them at once, so that
// their sums come out in one vector.
template <size_t kWidth>
inline void ShortRows(const float* m, size_t rows, size_t cols, const float* x, float factor, float* out) {
  size_t row = 0;
#if defined(LORA_STORE_SHUFFLES)
  if constexpr (kWidth > 1) {
    if (cols < kWidth) return ShortRows<kWidth / 2>(m, rows, cols, x, factor, out);
    const size_t whole = cols - cols % kWidth;
    for (; row + kWidth <= rows; row += kWidth) {
      Vec<kWidth> sums[kWidth];
      for (size_t i = 0; i < kWidth; i++) {
        const float* const from = m + (row + i) * cols;
        sums[i] = Load<kWidth>(from) * Load<kWidth>(x);
        for (size_t j = kWidth; j < whole; j += kWidth) sums[i] += Load<kWidth>(from + j) * Load<kWidth>(x + j);
      }
      Vec<kWidth> totals = Totals<kWidth>(sums);
      if (whole < cols) {
        float rests[kWidth];
        for (size_t i = 0; i < kWidth; i++) {
          rests[i] = 0;
          for (size_t j = whole; j < cols; j++) rests[i] += m[(row + i) * cols + j] * x[j];
        }
        totals += Load<kWidth>(rests);
      }
      Store<kWidth>(out + row, factor * totals);
    }
  }
#endif
  for (; row < rows; row++) out[row] = static_cast<float>(factor * Dot<kWidth>(m + row * cols, x, cols));
}

inline void Project(const float* base, size_t rank, size_t input_dim, const float* input, float* out) {
  for (size_t row = 0; row < rank; row++) {
    out[row] = static_cast<float>(Dot<kLanes>(base + row * input_dim, input, input_dim));
  }
}

inline void Reflect(const float* user, size_t output_dim, size_t rank, const float* preference, float* out) {
  Columns<kLanes>(user, output_dim, rank, preference, 1, out, 0);
}

inline void Forward(const Weights& w, const float* input, float* scratch, float* out) {
  Project(w.base, w.rank, w.input_dim, input, scratch);
  // Longer rows are summed with totals in f64.
  if (w.rank <= kTerms) return ShortRows<kLanes>(w.user, w.output_dim, w.rank, scratch, w.scaling, out);
  for (size_t row = 0; row < w.output_dim; row++) {
    out[row] = static_cast<float>(w.scaling * Dot<kLanes>(w.user + row * w.rank, scratch, w.rank));
  }
}

inline double Score(const Weights& w, const float* input, const float* preference, float* scratch) {
  Project(w.base, w.rank, w.input_dim, input, scratch);
  Reflect(w.user, w.output_dim, w.rank, preference, scratch + w.rank);
  return w.scaling * Dot<kLanes>(scratch, scratch + w.rank, w.rank);
}

inline void ScoreMany(const Weights& w, const float* inputs, size_t count, const float* preference, float* scratch,
                      float* out) {
  float* const direction = scratch + w.rank;
  Reflect(w.user, w.output_dim, w.rank, preference, scratch);
  Columns<kLanes>(w.base, w.rank, w.input_dim, scratch, w.scaling, direction, 0);
  for (size_t i = 0; i < count; i++) {
    out[i] = static_cast<float>(Dot<kLanes>(inputs + i * w.input_dim, direction, w.input_dim));
  }
}

inline void Descend(float* user, size_t output_dim, size_t rank, const float* preference, const float* direction) {
  for (size_t row = 0; row < output_dim; row++) {
    float* const to = user + row * rank;
    const float factor = preference[row];
    size_t j = 0;
    for (; j + kLanes <= rank; j += kLanes) {
      Store<kLanes>(to + j, Load<kLanes>(to + j) - factor * Load<kLanes>(direction + j));
    }
    for (; j < rank; j++) to[j] -= factor * direction[j];
  }
}

constexpr Kernels Table(const char* name) {
  return {name, Forward, Score, ScoreMany, Project, Reflect, Descend, Finite, CopyFinite, ToHalf, FromHalf};
}
