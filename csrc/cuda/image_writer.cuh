// The conversion of the levels of planes to pixels of an image, 16 of a row at a time.
#pragma once

#include "../core/render.h"
#include "launch.h"

namespace spectromer {

constexpr int kPiece = 16;  // pixels processed together

// The conversion of planes to channels: each plane is a channel, one plane becomes three channels by a lookup table, or
// all planes are composited.
enum class Mixing : int { channels, table, layers };

struct ImageLayout {
  Mixing mixing;
  int planes, size;
  unsigned pixels;  // values of an image, in all channels
  int access;       // bytes written at a time: row_access
  bool direct;      // levels are stored 16 at a time without staging; otherwise a strip of one or all planes is staged
  Reserved shown;   // [planes, 256] output value of each level: a byte, or three (red first) for Mixing::table
  Reserved staged;  // [planes or 1, rows, 32] levels of a strip
};

// The largest power of two, up to 16, on a multiple of which every row of an image begins.
inline int row_access(const void* image, int64_t row_bytes) {
  int access = 16;
  while ((row_bytes | static_cast<int64_t>(reinterpret_cast<uintptr_t>(image))) % access != 0) access /= 2;
  return access;
}

// Stores the first `count` bytes of a word, 4 at most, in units that the alignment of the address allows.
__device__ __forceinline__ void store_word(unsigned char* to, unsigned word, int count, int access) {
  if (access >= 4) {
    if (count > 0) *reinterpret_cast<uint32_t*>(to) = word;
  } else if (access == 2) {
    if (count > 0) *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(word);
    if (count > 2) *reinterpret_cast<uint16_t*>(to + 2) = static_cast<uint16_t>(word >> 16);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (count > i) to[i] = static_cast<uint8_t>(word >> (8 * i));
    }
  }
}

class ImageWriter {
 public:
  __device__ ImageWriter(const RenderArgs& args, const ImageLayout& layout) : a_(args), l_(layout) {}

  // Makes the table, by the whole block. The caller must synchronise the block afterwards.
  __device__ void prepare() const {
    if (!l_.shown) return;
    const int each = l_.mixing == Mixing::table ? 3 : 1;
    for (int i = thread_index(); i < l_.planes * 256; i += block_threads()) {
      uint32_t bytes = 0;
      for (int channel = 0; channel < each; ++channel)
        bytes |= shown_as(i / 256, channel, static_cast<uint8_t>(i % 256)) << (8 * channel);
      shared_at<uint32_t>(l_.shown)[i] = bytes;
    }
  }

  // Selects the image that is written by all later calls.
  __device__ void begin(unsigned image) { image_ = image; }

  // Writes 16 pixels of any row of an image, from a given column on, directly from their levels.
  template <PixelType kType>
  struct DirectRowWriter {
    unsigned char* at;
    int size;
    float factor, offset;

    // 16 pixels as they are stored.
    struct Pixels {
      static constexpr int kWords = kType == PixelType::uint8 ? 1 : 2;
      uint4 words[kWords];
    };

    __device__ __forceinline__ Pixels pixels(const uint4& levels) const {
      if constexpr (kType == PixelType::uint8) {
        return Pixels{{levels}};
      } else {
        return Pixels{
            {eight_bfloat16(levels.x, levels.y, factor, offset), eight_bfloat16(levels.z, levels.w, factor, offset)}};
      }
    }

    // The pixels for 16 levels of 0.
    __device__ __forceinline__ Pixels blank() const {
      if constexpr (kType == PixelType::uint8) {
        return Pixels{{make_uint4(0, 0, 0, 0)}};
      } else {
        const uint32_t two = two_bfloat16(offset, offset);  // as 0 times any factor is 0
        const uint4 eight = make_uint4(two, two, two, two);
        return Pixels{{eight, eight}};
      }
    }

    __device__ __forceinline__ void put(int row, const Pixels& pixels) const {
      unsigned char* to = at + uint64_t{static_cast<unsigned>(row * Pixels::kWords)} * static_cast<unsigned>(size);
#pragma unroll
      for (int i = 0; i < Pixels::kWords; ++i) reinterpret_cast<uint4*>(to)[i] = pixels.words[i];
    }
  };

  // The writer of a channel of the image, from a given pixel on.
  template <PixelType kType>
  __device__ __forceinline__ DirectRowWriter<kType> row_writer(int channel, int row, int column) const {
    unsigned char* at = kept(address<kType == PixelType::uint8 ? 1 : 2>(channel, row, column));
    if constexpr (kType == PixelType::uint8) return DirectRowWriter<kType>{at, l_.size, 1.0f, 0.0f};
    else return DirectRowWriter<kType>{at, l_.size, __ldg(a_.factor + channel), __ldg(a_.offset + channel)};
  }

  // Writes up to 16 pixels of a row of the image, for any type and mixing. levels(plane, word) gives four of their
  // levels. With Mixing::channels, only `plane` is written.
  template <class Levels>
  __device__ void put(int plane, int row, int column, Levels levels) const {
    if (l_.mixing == Mixing::table && a_.type == PixelType::uint8 && l_.access == 16) {
      put_table(row, column, levels);
      return;
    }
#pragma unroll 1
    for (int channel = 0; channel < (l_.mixing == Mixing::channels ? 1 : 3); ++channel) {
      const int shown = l_.mixing == Mixing::channels ? plane : channel;
      unsigned char* at = address(shown, row, column);
      unsigned words[4];
#pragma unroll
      for (int word = 0; word < 4; ++word) words[word] = shown_of(plane, channel, word, levels);
      if (a_.type == PixelType::uint8 && l_.access == 16) {
        *reinterpret_cast<uint4*>(at) = make_uint4(words[0], words[1], words[2], words[3]);
        continue;
      }
#pragma unroll
      for (int word = 0; word < 4; ++word)
        store_four(shown, at + 4 * word * pixel_bytes(), l_.size - column - 4 * word, words[word]);
    }
  }

 private:
  __device__ float ground() const { return a_.light ? 255.0f : 0.0f; }

  __device__ int pixel_bytes() const {
    return a_.type == PixelType::uint8 ? 1 : a_.type == PixelType::bfloat16 ? 2 : 4;
  }

  // The output value of a plane's level in a channel.
  __device__ uint32_t shown_as(int plane, int channel, uint8_t level) const {
    if (a_.colormap != nullptr) return a_.colormap[3 * level + channel];
    const float ink = a_.inks != nullptr ? a_.inks[3 * plane + channel] : 255.0f - ground();
    return static_cast<uint32_t>(inked(ground(), ink, a_.alpha[plane] / 255.0f, level) + 0.5f);
  }

  // Writes 16 pixels of three channels from one plane.
  template <class Levels>
  __device__ __forceinline__ void put_table(int row, int column, Levels levels) const {
    const Shared<uint32_t> shown = shared_at<uint32_t>(l_.shown);
    unsigned red[4], green[4], blue[4];
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      const unsigned some = levels(0, word);
      const auto three = [&](int k) -> uint32_t { return shown[static_cast<int>(some >> (8 * k) & 255u)]; };
      const uint32_t a = three(0), b = three(1), c = three(2), d = three(3);
      // Bytes of two pixels: red, red, green, green; blue, blue.
      const uint32_t first = __byte_perm(a, b, 0x5140), second = __byte_perm(c, d, 0x5140);
      red[word] = __byte_perm(first, second, 0x5410);
      green[word] = __byte_perm(first, second, 0x7632);
      blue[word] = __byte_perm(__byte_perm(a, b, 0x0062), __byte_perm(c, d, 0x0062), 0x5410);
    }
    const auto put = [&](int channel, const unsigned* words) {
      *reinterpret_cast<uint4*>(address<1>(channel, row, column)) = make_uint4(words[0], words[1], words[2], words[3]);
    };
    put(0, red), put(1, green), put(2, blue);
  }

  // The levels of 4 pixels in a channel.
  template <class Levels>
  __device__ __forceinline__ unsigned shown_of(int plane, int channel, int word, Levels levels) const {
    unsigned shown = 0;
    if (l_.mixing != Mixing::layers) {
      const Shared<uint32_t> table = shared_at<uint32_t>(l_.shown) + (l_.mixing == Mixing::table ? 0 : plane) * 256;
      const unsigned some = levels(plane, word);
#pragma unroll
      for (int k = 0; k < 32; k += 8) shown |= (table[static_cast<int>(some >> k & 255u)] >> (8 * channel) & 255u) << k;
      return shown;
    }
    float mixed[4] = {ground(), ground(), ground(), ground()};
#pragma unroll 1
    for (int layer = 0; layer < l_.planes; ++layer) {
      const unsigned some = levels(layer, word);
      const float ink = a_.inks[3 * layer + channel], share = a_.alpha[layer] / 255.0f;
#pragma unroll
      for (int k = 0; k < 4; ++k) mixed[k] = inked(mixed[k], ink, share, static_cast<uint8_t>(some >> (8 * k)));
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) shown |= static_cast<unsigned>(static_cast<int>(mixed[k] + 0.5f)) << (8 * k);
    return shown;
  }

  static __device__ __forceinline__ float value_of(unsigned level, float factor, float offset) {
    float value;
    put_level(static_cast<int>(level), factor, offset, value);
    return value;
  }

  static __device__ __forceinline__ uint4 eight_bfloat16(unsigned low, unsigned high, float factor, float offset) {
    // A level in the low bits of the float 2^23 gives 2^23 + level, and its product is rounded as in LevelSum.
    const auto value = [&](unsigned levels, unsigned k) {
      const unsigned bits = __byte_perm(levels, 0x4b000000u, 0x7540u + k);
      float more;
      memcpy(&more, &bits, sizeof more);
      return fmaf(more, factor, -factor * 8388608.0f) + offset;
    };
    const auto two = [&](unsigned levels, unsigned k) { return two_bfloat16(value(levels, k), value(levels, k + 1)); };
    return make_uint4(two(low, 0), two(low, 2), two(high, 0), two(high, 2));
  }

  // The address of a pixel of the image.
  template <int kBytes>
  __device__ __forceinline__ unsigned char* address(int channel, int row, int column) const {
    const unsigned pixel = static_cast<unsigned>((channel * l_.size + row) * l_.size + column);
    return static_cast<unsigned char*>(a_.out) + (uint64_t{image_} * l_.pixels + pixel) * kBytes;
  }

  __device__ unsigned char* address(int channel, int row, int column) const {
    const int bytes = pixel_bytes();
    return bytes == 1   ? address<1>(channel, row, column)
           : bytes == 2 ? address<2>(channel, row, column)
                        : address<4>(channel, row, column);
  }

  // Stores 4 pixels of a channel, or fewer if there is not enough room.
  __device__ __forceinline__ void store_four(int channel, unsigned char* to, int room, unsigned shown) const {
    if (a_.type == PixelType::uint8) {
      store_word(to, shown, room, l_.access);
      return;
    }
    const float factor = __ldg(a_.factor + channel), offset = __ldg(a_.offset + channel);
    const auto value = [&](int k) { return value_of(shown >> (8 * k) & 255u, factor, offset); };
    if (a_.type == PixelType::bfloat16) {
#pragma unroll
      for (int k = 0; k < 4; k += 2) {
        store_word(to + 2 * k, two_bfloat16(value(k), value(k + 1)), 2 * (room - k), l_.access);
      }
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        unsigned bits;
        const float number = value(k);
        memcpy(&bits, &number, sizeof bits);
        store_word(to + 4 * k, bits, 4 * (room - k), l_.access);
      }
    }
  }

  const RenderArgs& a_;
  const ImageLayout& l_;
  unsigned image_ = 0;
};

}  // namespace spectromer
