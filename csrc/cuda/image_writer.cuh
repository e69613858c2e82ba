// From levels of planes to the pixels of an image, 16 of a row at a time.
#pragma once

#include "../core/render.h"
#include "launch.h"

namespace spectromer {

constexpr int kPiece = 16;  // pixels handled together

// How planes become channels: each by itself; one of them as three, through a table; or all over one another.
enum class Mixing : int { channels, table, layers };

struct ImageLayout {
  Mixing mixing;
  int planes, channels, size;
  int access;         // bytes written at a time: the largest power of two, up to 16, at which every row can begin
  Reserved shown;     // [planes, 256] what a level is shown as: a byte, or three (red first) for Mixing::table
  Reserved unchanged; // [planes] whether that is the level itself
};

// A row's 16 bytes in steps of what its address allows, as far as the row goes.
template <class Step>
__device__ __forceinline__ void store_steps(unsigned char* to, const uint4& bytes, int count) {
  constexpr int kSteps = 16 / static_cast<int>(sizeof(Step));
  const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int at = i * static_cast<int>(sizeof(Step));
    if (at < count) reinterpret_cast<Step*>(to)[i] = static_cast<Step>(words[at / 4] >> (at % 4 * 8));
  }
}

__device__ __forceinline__ void store_bytes(unsigned char* to, const uint4& bytes, int count, int access) {
  if (access == 16) {
    *reinterpret_cast<uint4*>(to) = bytes;
  } else if (access >= 4) {
    store_steps<uint32_t>(to, bytes, count);
  } else if (access == 2) {
    store_steps<uint16_t>(to, bytes, count);
  } else {
    store_steps<uint8_t>(to, bytes, count);
  }
}

class ImageWriter {
 public:
  // Makes the tables; the caller waits for the block before it writes.
  __device__ ImageWriter(const RenderArgs& args, const ImageLayout& layout)
      : a_(args), l_(layout), shown_(shared_at<uint32_t>(layout.shown)), unchanged_(shared_at<int>(layout.unchanged)) {
    if (l_.mixing == Mixing::layers) return;
    for (int plane = thread_index(); plane < l_.planes; plane += block_threads()) unchanged_[plane] = l_.mixing == Mixing::channels;
    __syncthreads();
    for (int i = thread_index(); i < l_.planes * 256; i += block_threads()) {
      const int plane = i / 256;
      const uint8_t level = static_cast<uint8_t>(i % 256);
      uint32_t bytes = 0;
      for (int channel = 0; channel < (l_.mixing == Mixing::table ? 3 : 1); ++channel) {
        bytes |= static_cast<uint32_t>(shown_as(plane, channel, level)) << (8 * channel);
      }
      shown_[i] = bytes;
      if (bytes != level) atomicMin(unchanged_ + plane, 0);
    }
  }

  __device__ void begin(int64_t image) { image_ = image; }

  // Puts levels of one plane in a row of the image, from `column` on, where they make channels by themselves.
  __device__ __forceinline__ void put(int plane, int row, int column, const uint4& levels) const {
    if (l_.mixing == Mixing::channels) {
      store(plane, row, column, unchanged_[plane] != 0 ? levels : looked_up(plane, levels, 0));
    } else {
      for (int channel = 0; channel < 3; ++channel) store(channel, row, column, looked_up(plane, levels, channel));
    }
  }

  // The same for levels that are all 0.
  __device__ __forceinline__ void put_blank(int plane, int row, int column) const {
    const uint32_t shown = shown_[plane * 256];
    if (l_.mixing == Mixing::channels) {
      store_blank(plane, row, column, static_cast<int>(shown));
    } else {
      for (int channel = 0; channel < 3; ++channel) store_blank(channel, row, column, static_cast<int>(shown >> (8 * channel) & 255u));
    }
  }

  // Lays all planes over one another: levels(plane, word) are 4 levels, the word-th of its row's 16.
  template <class Levels>
  __device__ __forceinline__ void put_layers(int row, int column, Levels levels) const {
    for (int channel = 0; channel < 3; ++channel) {
      unsigned words[4];
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        float mixed[4] = {ground(), ground(), ground(), ground()};
        for (int plane = 0; plane < l_.planes; ++plane) {
          const unsigned some = levels(plane, word);
          const float ink = a_.inks[3 * plane + channel], share = a_.alpha[plane] / 255.0f;
#pragma unroll
          for (int i = 0; i < 4; ++i) mixed[i] = inked(mixed[i], ink, share, static_cast<uint8_t>(some >> (8 * i)));
        }
        words[word] = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) words[word] |= static_cast<unsigned>(static_cast<int>(mixed[i] + 0.5f)) << (8 * i);
      }
      store(channel, row, column, make_uint4(words[0], words[1], words[2], words[3]));
    }
  }

 private:
  __device__ float ground() const { return a_.light ? 255.0f : 0.0f; }

  static __device__ __forceinline__ uint8_t byte_of(const uint4& bytes, int i) {
    const unsigned word = i < 4 ? bytes.x : i < 8 ? bytes.y : i < 12 ? bytes.z : bytes.w;
    return static_cast<uint8_t>(word >> (i % 4 * 8));
  }

  // What a level of a plane becomes in a channel.
  __device__ int shown_as(int plane, int channel, uint8_t level) const {
    if (a_.colormap != nullptr) return a_.colormap[3 * level + channel];
    const float ink = a_.inks != nullptr ? a_.inks[3 * plane + channel] : 255.0f - ground();
    return static_cast<int>(inked(ground(), ink, a_.alpha[plane] / 255.0f, level) + 0.5f);
  }

  __device__ __forceinline__ uint4 looked_up(int plane, const uint4& levels, int channel) const {
    unsigned words[4] = {};
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      const uint32_t bytes = shown_[plane * 256 + byte_of(levels, i)];
      words[i / 4] |= (bytes >> (8 * channel) & 255u) << (i % 4 * 8);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
  }

  __device__ __forceinline__ unsigned char* address(int channel, int row, int column, int bytes) const {
    const int64_t plane = image_ * l_.channels + channel;
    const int64_t pixel = plane * l_.size * l_.size + static_cast<int64_t>(row) * l_.size + column;
    return static_cast<unsigned char*>(a_.out) + pixel * bytes;
  }

  // Bytes of a piece that lie within the row.
  __device__ __forceinline__ int room(int column, int bytes) const { return (l_.size - column) * bytes; }

  __device__ __forceinline__ void store(int channel, int row, int column, const uint4& shown) const {
    if (a_.type == PixelType::uint8) {
      store_bytes(address(channel, row, column, 1), shown, room(column, 1), l_.access);
      return;
    }
    const float factor = a_.factor[channel], offset = a_.offset[channel];
    const unsigned words[4] = {shown.x, shown.y, shown.z, shown.w};
    const auto value = [&](int i) {
      float result;
      put_level(static_cast<int>(words[i / 4] >> (i % 4 * 8) & 255u), factor, offset, result);
      return result;
    };
    if (a_.type == PixelType::bfloat16) {
      unsigned char* to = address(channel, row, column, 2);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int first = 8 * half;
        const uint4 bytes = make_uint4(two_bfloat16(value(first), value(first + 1)), two_bfloat16(value(first + 2), value(first + 3)),
                                       two_bfloat16(value(first + 4), value(first + 5)), two_bfloat16(value(first + 6), value(first + 7)));
        if (first < l_.size - column) store_bytes(to + 16 * half, bytes, room(column + first, 2), l_.access);
      }
    } else {
      unsigned char* to = address(channel, row, column, 4);
#pragma unroll
      for (int first = 0; first < kPiece; first += 4) {
        if (first < l_.size - column) store_floats(to + 4 * first, value(first), value(first + 1), value(first + 2), value(first + 3), room(column + first, 4));
      }
    }
  }

  __device__ __forceinline__ void store_floats(unsigned char* to, float a, float b, float c, float d, int count) const {
    unsigned words[4];
    memcpy(words, &a, 4), memcpy(words + 1, &b, 4), memcpy(words + 2, &c, 4), memcpy(words + 3, &d, 4);
    store_bytes(to, make_uint4(words[0], words[1], words[2], words[3]), count, l_.access);
  }

  __device__ __forceinline__ void store_blank(int channel, int row, int column, int level) const {
    const int bytes = a_.type == PixelType::uint8 ? 1 : a_.type == PixelType::bfloat16 ? 2 : 4;
    unsigned word = static_cast<unsigned>(level) * 0x01010101u;
    if (bytes > 1) {
      float value;
      put_level(level, a_.factor[channel], a_.offset[channel], value);
      if (bytes == 2) word = two_bfloat16(value, value); else memcpy(&word, &value, 4);
    }
    unsigned char* to = address(channel, row, column, bytes);
    for (int k = 0; k < bytes; ++k) {
      const int count = room(column, bytes) - 16 * k;
      if (count > 0) store_bytes(to + 16 * k, make_uint4(word, word, word, word), count, l_.access);
    }
  }

  const RenderArgs& a_;
  const ImageLayout& l_;
  const Shared<uint32_t> shown_;
  const Shared<int> unchanged_;
  int64_t image_ = 0;
};

}  // namespace spectromer
