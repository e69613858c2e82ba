// Vectors of kLanes floats, for the level at hand (each_level.h includes this for each): one register each with
// AVX-512 (16 lanes), AVX2 (8 lanes) and in the baseline (4 lanes). Arithmetic is the compiler's own notation; what GCC 12
// turns into code for one lane after the other at 64 bytes (comparisons, choices, conversions), or has no notation for,
// has a function here.

#if SPECTROMER_LEVEL == 4

constexpr int kLanes = 16;
typedef float Float __attribute__((vector_size(64)));
typedef int Int __attribute__((vector_size(64)));

struct Mask {
  __mmask16 bits;

  friend SPECTROMER_INLINE Mask operator&(Mask a, Mask b) { return {_kand_mask16(a.bits, b.bits)}; }
  friend SPECTROMER_INLINE Mask operator|(Mask a, Mask b) { return {_kor_mask16(a.bits, b.bits)}; }
  friend SPECTROMER_INLINE Mask operator~(Mask a) { return {_knot_mask16(a.bits)}; }
};

SPECTROMER_INLINE Int lane_numbers() { return Int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
SPECTROMER_INLINE Mask no_lane() { return {0}; }
SPECTROMER_INLINE unsigned lanes_of(Mask m) { return m.bits; }

SPECTROMER_INLINE Mask less(const Float& a, const Float& b) { return {_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)}; }
SPECTROMER_INLINE Mask at_most(const Float& a, const Float& b) { return {_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)}; }
SPECTROMER_INLINE Mask is_nan(const Float& a) { return {_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q)}; }
SPECTROMER_INLINE Mask less(const Int& a, const Int& b) { return {_mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b)}; }
SPECTROMER_INLINE Mask same(const Int& a, const Int& b) { return {_mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b)}; }

// a where the mask is set, else b.
SPECTROMER_INLINE Float choose(Mask m, const Float& a, const Float& b) { return _mm512_mask_blend_ps(m.bits, b, a); }
SPECTROMER_INLINE Int choose(Mask m, const Int& a, const Int& b) {
  return (Int)_mm512_mask_blend_epi32(m.bits, (__m512i)b, (__m512i)a);
}
// a + b where the mask is set, else a.
SPECTROMER_INLINE Float sum_where(Mask m, const Float& a, const Float& b) { return _mm512_mask_add_ps(a, m.bits, a, b); }
SPECTROMER_INLINE Int sum_where(Mask m, const Int& a, const Int& b) {
  return (Int)_mm512_mask_add_epi32((__m512i)a, m.bits, (__m512i)a, (__m512i)b);
}
SPECTROMER_INLINE Float least(const Float& a, const Float& b) { return _mm512_min_ps(a, b); }
SPECTROMER_INLINE Float most(const Float& a, const Float& b) { return _mm512_max_ps(a, b); }
SPECTROMER_INLINE Int least(const Int& a, const Int& b) { return (Int)_mm512_min_epi32((__m512i)a, (__m512i)b); }
SPECTROMER_INLINE Int most(const Int& a, const Int& b) { return (Int)_mm512_max_epi32((__m512i)a, (__m512i)b); }
SPECTROMER_INLINE Float root(const Float& v) { return _mm512_sqrt_ps(v); }
// 1 / sqrt(v) within 1e-7, for v from 1e-37 to 1e37.
SPECTROMER_INLINE Float inverse_root(const Float& v) {
  const __m512 guess = _mm512_rsqrt14_ps(v);
  const __m512 off = _mm512_fnmadd_ps(_mm512_mul_ps(v, guess), guess, _mm512_set1_ps(1.0f));
  return _mm512_fmadd_ps(_mm512_mul_ps(guess, _mm512_set1_ps(0.5f)), off, guess);
}
// 1 / v within 1e-7, for |v| from 1e-37 to 1e37: a fraction of a division's time.
SPECTROMER_INLINE Float reciprocal(const Float& v) {
  const __m512 guess = _mm512_rcp14_ps(v);
  return _mm512_fmadd_ps(guess, _mm512_fnmadd_ps(v, guess, _mm512_set1_ps(1.0f)), guess);
}
// a * b + c, rounded once where there is an instruction for it.
SPECTROMER_INLINE Float product_sum(const Float& a, const Float& b, const Float& c) { return _mm512_fmadd_ps(a, b, c); }
SPECTROMER_INLINE Int load(const uint8_t* from) {
  return (Int)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
}
SPECTROMER_INLINE Float rounded_down(const Float& v) { return _mm512_floor_ps(v); }
SPECTROMER_INLINE Float to_float(const Int& v) { return _mm512_cvtepi32_ps((__m512i)v); }
SPECTROMER_INLINE Int to_int(const Float& v) { return (Int)_mm512_cvttps_epi32(v); }

#else

constexpr int kLanes = SPECTROMER_LEVEL == 3 ? 8 : 4;
typedef float Float __attribute__((vector_size(4 * kLanes)));
typedef int Int __attribute__((vector_size(4 * kLanes)));
typedef Int Mask;  // -1 where set

SPECTROMER_INLINE Int lane_numbers() {
#if SPECTROMER_LEVEL == 3
  return Int{0, 1, 2, 3, 4, 5, 6, 7};
#else
  return Int{0, 1, 2, 3};
#endif
}

SPECTROMER_INLINE Mask no_lane() { return Mask{}; }
SPECTROMER_INLINE unsigned lanes_of(const Mask& m) {
#if SPECTROMER_LEVEL == 3
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)m));
#elif SPECTROMER_LEVELS
  return static_cast<unsigned>(_mm_movemask_ps((__m128)m));
#else
  const Int bit = m & (1 << lane_numbers());
  return static_cast<unsigned>(bit[0] | bit[1] | bit[2] | bit[3]);
#endif
}

SPECTROMER_INLINE Mask less(const Float& a, const Float& b) { return a < b; }
SPECTROMER_INLINE Mask at_most(const Float& a, const Float& b) { return a <= b; }
SPECTROMER_INLINE Mask is_nan(const Float& a) { return a != a; }
SPECTROMER_INLINE Mask less(const Int& a, const Int& b) { return a < b; }
SPECTROMER_INLINE Mask same(const Int& a, const Int& b) { return a == b; }

SPECTROMER_INLINE Float choose(const Mask& m, const Float& a, const Float& b) { return m ? a : b; }
SPECTROMER_INLINE Int choose(const Mask& m, const Int& a, const Int& b) { return m ? a : b; }
SPECTROMER_INLINE Float sum_where(const Mask& m, const Float& a, const Float& b) { return a + (Float)((Int)b & m); }
SPECTROMER_INLINE Int sum_where(const Mask& m, const Int& a, const Int& b) { return a + (b & m); }
SPECTROMER_INLINE Float least(const Float& a, const Float& b) { return a < b ? a : b; }
SPECTROMER_INLINE Float most(const Float& a, const Float& b) { return a > b ? a : b; }
SPECTROMER_INLINE Int least(const Int& a, const Int& b) { return a < b ? a : b; }
SPECTROMER_INLINE Int most(const Int& a, const Int& b) { return a > b ? a : b; }
SPECTROMER_INLINE Float root(const Float& v) {
#if SPECTROMER_LEVEL == 3
  return _mm256_sqrt_ps(v);
#else
  Float w;
  for (int k = 0; k < kLanes; ++k) w[k] = sqrtf(v[k]);
  return w;
#endif
}
SPECTROMER_INLINE Float inverse_root(const Float& v) { return 1.0f / root(v); }
SPECTROMER_INLINE Float reciprocal(const Float& v) { return 1.0f / v; }
SPECTROMER_INLINE Float product_sum(const Float& a, const Float& b, const Float& c) {
#if SPECTROMER_LEVEL == 3
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}
SPECTROMER_INLINE Int load(const uint8_t* from) {
#if SPECTROMER_LEVEL == 3
  return (Int)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
#else
  Int v;
  for (int k = 0; k < kLanes; ++k) v[k] = from[k];
  return v;
#endif
}
SPECTROMER_INLINE Float to_float(const Int& v) { return __builtin_convertvector(v, Float); }
SPECTROMER_INLINE Int to_int(const Float& v) { return __builtin_convertvector(v, Int); }
SPECTROMER_INLINE Float rounded_down(const Float& v) {
#if SPECTROMER_LEVEL == 3
  return _mm256_floor_ps(v);
#else
  const Float whole = to_float(to_int(v));
  return choose(less(v, whole), whole - 1.0f, whole);
#endif
}

#endif

SPECTROMER_INLINE Mask mask_of(unsigned lanes) {
#if SPECTROMER_LEVEL == 4
  return {static_cast<__mmask16>(lanes)};
#else
  const Int bit = 1 << lane_numbers();
  return (bit & static_cast<int>(lanes)) == bit;
#endif
}

SPECTROMER_INLINE int least_of(const Int& v) {
#if SPECTROMER_LEVEL == 4
  return _mm512_reduce_min_epi32((__m512i)v);
#else
  int value = v[0];
  for (int k = 1; k < kLanes; ++k) value = value < v[k] ? value : v[k];
  return value;
#endif
}

SPECTROMER_INLINE int sum_of(const Int& v) {
#if SPECTROMER_LEVEL == 4
  return _mm512_reduce_add_epi32((__m512i)v);
#else
  int sum = v[0];
  for (int k = 1; k < kLanes; ++k) sum += v[k];
  return sum;
#endif
}

SPECTROMER_INLINE float least_of(const Float& v) {
#if SPECTROMER_LEVEL == 4
  return _mm512_reduce_min_ps(v);
#else
  float value = v[0];
  for (int k = 1; k < kLanes; ++k) value = smaller(value, v[k]);
  return value;
#endif
}

SPECTROMER_INLINE Float all(float v) { return v - Float{}; }
SPECTROMER_INLINE Int all(int v) { return v - Int{}; }

SPECTROMER_INLINE bool any(const Mask& m) { return lanes_of(m) != 0; }
SPECTROMER_INLINE bool every(const Mask& m) { return !any(~m); }

SPECTROMER_INLINE Float load(const float* from) {
  Float v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

SPECTROMER_INLINE Int load(const int* from) {
  Int v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

// (With memcpy, GCC would take any variable to have changed.)
SPECTROMER_INLINE void store(float* to, const Float& v) {
  typedef Float Unaligned __attribute__((aligned(4)));
  *reinterpret_cast<Unaligned*>(to) = v;
}
SPECTROMER_INLINE void store(int* to, const Int& v) { std::memcpy(to, &v, sizeof v); }

// `count` values from `at` on of those at [0, end); 0 outside. (Seldom needed, so not compiled along.)
__attribute__((noinline)) inline void copy_between(const float* from, int64_t at, int64_t end, float* to, int64_t count) {
  for (int64_t k = 0; k < count; ++k) to[k] = at + k >= 0 && at + k < end ? from[at + k] : 0.0f;
}

SPECTROMER_INLINE Float load_between(const float* from, int64_t at, int64_t end) {
  if (at >= 0 && at + kLanes <= end) return load(from + at);
  float values[kLanes];
  copy_between(from, at, end, values, kLanes);
  return load(values);
}

__attribute__((noinline)) inline void store_part(float* to, Float v, int64_t count) {
  std::memcpy(to, &v, static_cast<size_t>(count) * sizeof(float));
}

// The first `count` lanes.
SPECTROMER_INLINE void store_some(float* to, const Float& v, int64_t count) {
  if (count >= kLanes) {
    store(to, v);
  } else {
    store_part(to, v, count);
  }
}

SPECTROMER_INLINE Float magnitude(const Float& v) { return (Float)((Int)v & 0x7fffffff); }

// `v` where the mask is set, 0 elsewhere.
SPECTROMER_INLINE Float kept(const Mask& m, const Float& v) { return choose(m, v, Float{}); }

// Stores the lanes that are set one behind the other; what lies behind them, up to kLanes values, is overwritten.
SPECTROMER_INLINE void store_together(int* to, const Mask& m, const Int& v) {
#if SPECTROMER_LEVEL == 4
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(m.bits, (__m512i)v));
#else
  for (unsigned lanes = lanes_of(m); lanes != 0; lanes &= lanes - 1) *to++ = v[__builtin_ctz(lanes)];
#endif
}

// Each lane's value in the next lane; the first gets `first`.
SPECTROMER_INLINE Float moved_on(const Float& v, float first) {
#if SPECTROMER_LEVEL == 4
  return (Float)_mm512_alignr_epi32((__m512i)v, _mm512_castps_si512(_mm512_set1_ps(first)), kLanes - 1);
#elif SPECTROMER_LEVEL == 3
  return __builtin_shufflevector(v, all(first), 8, 0, 1, 2, 3, 4, 5, 6);
#else
  return __builtin_shufflevector(v, all(first), 4, 0, 1, 2);
#endif
}

// Each lane's value in the lane before; the last gets `last`.
SPECTROMER_INLINE Int moved_back(const Int& v, const Int& last) {
#if SPECTROMER_LEVEL == 4
  return (Int)_mm512_alignr_epi32((__m512i)last, (__m512i)v, 1);
#elif SPECTROMER_LEVEL == 3
  return __builtin_shufflevector(v, last, 1, 2, 3, 4, 5, 6, 7, 8);
#else
  return __builtin_shufflevector(v, last, 1, 2, 3, 4);
#endif
}
SPECTROMER_INLINE Int moved_back(const Int& v, int last) { return moved_back(v, all(last)); }
SPECTROMER_INLINE Float moved_back(const Float& v, float last) { return (Float)moved_back((Int)v, (Int)all(last)); }

// Turns kLanes rows of kLanes into as many columns.
SPECTROMER_INLINE void transpose(Float (&rows)[kLanes]) {
#if SPECTROMER_LEVEL == 4
  __m512 a[kLanes], b[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    a[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < kLanes; i += 4) {
    for (int k = 0; k < 2; ++k) {
      const __m512d one = _mm512_castps_pd(a[i + k]), other = _mm512_castps_pd(a[i + k + 2]);
      b[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(one, other));
      b[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(one, other));
    }
  }
  for (int k = 0; k < 4; ++k) {
    const __m512 c = _mm512_shuffle_f32x4(b[k], b[k + 4], 0x88), d = _mm512_shuffle_f32x4(b[k], b[k + 4], 0xdd);
    const __m512 e = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0x88);
    const __m512 f = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0xdd);
    rows[k] = _mm512_shuffle_f32x4(c, e, 0x88);
    rows[k + 4] = _mm512_shuffle_f32x4(d, f, 0x88);
    rows[k + 8] = _mm512_shuffle_f32x4(c, e, 0xdd);
    rows[k + 12] = _mm512_shuffle_f32x4(d, f, 0xdd);
  }
#elif SPECTROMER_LEVEL == 3
  Float a[kLanes], b[kLanes];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    a[2 * i + 1] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 2; ++i) {
    const Float* from = a + 4 * i;
    Float* to = b + 4 * i;
    to[0] = __builtin_shufflevector(from[0], from[2], 0, 1, 8, 9, 4, 5, 12, 13);
    to[1] = __builtin_shufflevector(from[0], from[2], 2, 3, 10, 11, 6, 7, 14, 15);
    to[2] = __builtin_shufflevector(from[1], from[3], 0, 1, 8, 9, 4, 5, 12, 13);
    to[3] = __builtin_shufflevector(from[1], from[3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#else
  const Float a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
  const Float b = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  const Float c = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
  const Float d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  rows[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  rows[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  rows[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  rows[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
#endif
}

// Stores the low bytes of the lanes.
SPECTROMER_INLINE void store_bytes(uint8_t* to, const Int& v) {
#if SPECTROMER_LEVEL == 4
  _mm_storeu_si128((__m128i*)to, _mm512_cvtepi32_epi8((__m512i)v));
#else
  typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
  const Bytes bytes = __builtin_convertvector(v, Bytes);
  std::memcpy(to, &bytes, sizeof bytes);
#endif
}

// 16 rows of 16 bytes as columns.
SPECTROMER_INLINE void transpose_bytes(const uint8_t (&rows)[16][16], uint8_t* to, int64_t stride) {
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  Bytes a[16], b[16];
  std::memcpy(a, rows, sizeof a);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 8; ++i) {
      b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < 16; ++i) a[i] = b[i];
  }
  for (int i = 0; i < 16; ++i) std::memcpy(to + i * stride, &a[i], sizeof a[i]);
}

// Twice kLanes floats, one behind the other.
struct Pair {
  Float low, high;
};

// Each lane's value at its index.
SPECTROMER_INLINE Float pick(const Pair& from, const Int& index) {
#if SPECTROMER_LEVEL == 4
  return _mm512_permutex2var_ps(from.low, (__m512i)index, from.high);
#elif SPECTROMER_LEVEL == 3
  const __m256 low = _mm256_permutevar8x32_ps(from.low, (__m256i)index);
  const __m256 high = _mm256_permutevar8x32_ps(from.high, (__m256i)index);
  return _mm256_blendv_ps(low, high, (__m256)(index << 28));  // bit 3 of the index as the sign
#else
  float values[2 * kLanes];
  store(values, from.low);
  store(values + kLanes, from.high);
  Float v;
  for (int k = 0; k < kLanes; ++k) v[k] = values[index[k] & (2 * kLanes - 1)];
  return v;
#endif
}

// kLanes doubles, in two halves.
typedef double Half __attribute__((vector_size(4 * kLanes)));
struct Double {
  Half low, high;
};

SPECTROMER_INLINE Double load(const double* from) {
  Double v;
  std::memcpy(&v.low, from, sizeof v.low);
  std::memcpy(&v.high, from + kLanes / 2, sizeof v.high);
  return v;
}

SPECTROMER_INLINE void store(double* to, const Double& v) { std::memcpy(to, &v, sizeof v); }

SPECTROMER_INLINE Double half_way(const Double& a, const Double& b) {
  return {0.5 * (a.low + b.low), 0.5 * (a.high + b.high)};
}

SPECTROMER_INLINE Double operator-(const Double& a, const Double& b) { return {a.low - b.low, a.high - b.high}; }

SPECTROMER_INLINE Float to_float(const Double& v) {
#if SPECTROMER_LEVEL == 4
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(v.low)), _mm512_cvtpd_ps(v.high), 1);
#elif SPECTROMER_LEVEL == 3
  return _mm256_set_m128(_mm256_cvtpd_ps(v.high), _mm256_cvtpd_ps(v.low));
#else
  Float w;
  for (int k = 0; k < kLanes / 2; ++k) {
    w[k] = static_cast<float>(v.low[k]);
    w[k + kLanes / 2] = static_cast<float>(v.high[k]);
  }
  return w;
#endif
}

// The digits that a float has room for.
SPECTROMER_INLINE Double cut_to_float(const Double& v) {
  typedef int64_t Bits __attribute__((vector_size(4 * kLanes)));
  const int64_t digits = ~((int64_t{1} << 29) - 1);
  return {(Half)((Bits)v.low & digits), (Half)((Bits)v.high & digits)};
}

SPECTROMER_INLINE Mask less(const Double& a, const Double& b) {
#if SPECTROMER_LEVEL == 4
  const __mmask8 low = _mm512_cmp_pd_mask(a.low, b.low, _CMP_LT_OQ), high = _mm512_cmp_pd_mask(a.high, b.high, _CMP_LT_OQ);
  return {_mm512_kunpackb(high, low)};
#else
  Mask m;
  for (int k = 0; k < kLanes / 2; ++k) m[k] = -(a.low[k] < b.low[k]), m[k + kLanes / 2] = -(a.high[k] < b.high[k]);
  return m;
#endif
}
