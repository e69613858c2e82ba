// Pictures of squares, one per bin, in lines from left to right, or with every other line reversed.
#pragma once

#include "render_plan.h"

namespace spectromer {

class Squares {
 public:
  __device__ Squares(const RenderArgs& args, const RenderPlan& plan, const ImageWriter& writer)
      : a_(args), p_(plan), s_(plan.squares), writer_(writer) {}

  // Draws an image directly from the levels of `count` bins, by the whole block.
  template <PixelType kType>
  __device__ __forceinline__ void draw(int count) const {
#pragma unroll 1
    for (int plane = 0; plane < p_.image.planes; ++plane) {
      visit_pieces([&](int line, int piece) {
        const int first = line * s_.block, end = end_of(line);
        const auto to = writer_.row_writer<kType>(plane, first, piece * kPiece);
        const auto pixels = to.pixels(levels(plane, count, line, piece));
#pragma unroll 1
        for (int row = 0; row < end - first; ++row) to.put(row, pixels);
      });
    }
  }

  // The same for any image.
  __device__ __forceinline__ void draw_any(int count) const {
    const bool layers = p_.image.mixing == Mixing::layers;
#pragma unroll 1
    for (int plane = 0; plane < (layers ? 1 : p_.image.planes); ++plane) {
      visit_pieces([&](int line, int piece) {
        const uint4 own = levels(plane, count, line, piece);
#pragma unroll 1
        for (int row = line * s_.block; row < end_of(line); ++row) {
          writer_.put(plane, row, piece * kPiece, [&](int k, int word) -> unsigned {
            const uint4 four = layers && k != plane ? levels(k, count, line, piece) : own;
            return word == 0 ? four.x : word == 1 ? four.y : word == 2 ? four.z : four.w;
          });
        }
      });
    }
  }

 private:
  // Calls draw(line, piece) once for each piece of 16 columns of each line of squares, each in one of the threads. The
  // last line may be truncated.
  template <class Draw>
  __device__ __forceinline__ void visit_pieces(Draw draw) const {
    int line = quotient(thread_index(), s_.per_piece), piece = thread_index() - line * s_.pieces;
#pragma unroll 1
    while (line < s_.lines) {
      draw(line, piece);
      line += s_.lines_step, piece += s_.pieces_step;
      if (piece >= s_.pieces) piece -= s_.pieces, ++line;
    }
  }

  __device__ int end_of(int line) const {
    const int end = (line + 1) * s_.block;
    return end < p_.image.size ? end : p_.image.size;
  }

  // The levels of 16 columns of a line of squares.
  __device__ __forceinline__ uint4 levels(int plane, int count, int line, int piece) const {
    const Shared<uint8_t> of_bins = shared_at<uint8_t>(p_.levels) + plane * p_.bins.room;
    const int column = piece * kPiece;
    int square = quotient(column, s_.per_block),
        left = (square + 1) * s_.block - column;  // columns left of the square
    const auto level_of = [&](int k) -> unsigned {
      const int bin = square_bin(line, k, s_.side, a_.boustrophedon);
      return line < s_.side && k < s_.side && bin < count ? static_cast<unsigned>(of_bins[bin]) : 0u;
    };
    unsigned level = level_of(square), words[4] = {};
    const auto advance = [&](int columns) {
      left -= columns;
      if (left == 0) left = s_.block, level = level_of(++square);
    };
    if (s_.block % 4 == 0) {
#pragma unroll
      for (int word = 0; word < 4; ++word) words[word] = level * 0x01010101u, advance(4);
    } else {
#pragma unroll
      for (int i = 0; i < kPiece; ++i) words[i / 4] |= level << (i % 4 * 8), advance(1);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
  }

  const RenderArgs& a_;
  const RenderPlan& p_;
  const SquareLayout& s_;
  const ImageWriter& writer_;
};

}  // namespace spectromer
