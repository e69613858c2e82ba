// The outline of a line as stroked by Anti-Grain Geometry, edge by edge. See core/agg.h.
//
// A warp outlines 30 segments at a time, one per lane, and puts the edges in a queue, from which it draws 32 at a time.
// Lanes make different numbers of edges, but thanks to the queue all lanes are busy when edges are drawn.
#pragma once

#include "../core/agg.h"
#include "launch.h"

namespace spectromer {

struct Vertex {
  float x, y;
};

struct alignas(16) Edge {
  Vertex from, to;
};

// Segments [begin, end) of a line.
struct alignas(8) SegmentRange {
  int begin, end;
};

// The segments that are needed for the columns [column, column + 32): all that touch them, and one more at either end.
template <class X>
__device__ SegmentRange segments_near(X x, int points, int column, const StrokeShape& shape) {
  const float reach = 2.0f * shape.half + 1.0f;
  const int nearest = first_point(x, points, static_cast<float>(column), reach);
  const int farthest = first_point(x, points, static_cast<float>(column + kWarp), -reach);
  return SegmentRange{nearest > 0 ? nearest - 1 : 0, farthest + 2 < points - 1 ? farthest + 2 : points - 1};
}

// Passes edges from the lanes that make them to the lanes that draw them, in any order. Each warp has room for 64.
class EdgeQueue {
 public:
  static constexpr int kRoom = 2 * kWarp;

  __device__ explicit EdgeQueue(const Reserved& room) : edges_(shared_at<Edge>(room) + warp_index() * kRoom) {}

  // Adds the edge of each lane that has one. Whenever there are 32, calls draw(edge) for each of them. draw returns
  // whether a part of the edge remains to be drawn, and has then replaced the edge by that part.
  template <class Draw>
  __device__ __forceinline__ void add(bool has, const Edge& edge, Draw draw) {
    append(has, edge);
    while (count_ >= kWarp) draw_some(draw);
  }

  // Calls draw(edge) for the remaining edges.
  template <class Draw>
  __device__ __forceinline__ void flush(Draw draw) {
    while (count_ > 0) draw_some(draw);
  }

 private:
  __device__ __forceinline__ void append(bool has, const Edge& edge) {
    const unsigned lanes = __ballot_sync(kAllLanes, has), earlier = lanes & ((1u << lane_index()) - 1u);
    if (has) edges_[count_ + __popc(earlier)] = edge;
    count_ += __popc(lanes);
  }

  template <class Draw>
  __device__ __forceinline__ void draw_some(Draw draw) {
    __syncwarp();
    const int left = count_ > kWarp ? count_ - kWarp : 0;
    const bool has = left + lane_index() < count_;
    Edge edge = edges_[has ? left + lane_index() : left];
    count_ = left;
    __syncwarp();
    const bool rest = has && draw(edge);
    append(rest, edge);
  }

  const Shared<Edge> edges_;
  int count_ = 0;
};

// One segment of a line as stroked by AGG.
struct Stroke {
  Stretch at;
  float ux, uy, length;
  bool broken;   // nothing is drawn, and the line ends before it
  bool skipped;  // nothing is drawn, but the line goes on
};

// A line of which the segments [range.begin, range.end) are drawn. The canvas ends one pixel before `right` and
// `bottom`. The coordinates of the edges are relative to `origin`.
template <class X, class Y>
struct OutlinedLine {
  X x;
  Y y;
  SegmentRange range;
  float right, bottom;
  const StrokeShape& shape;
  Vertex origin;

  __device__ Edge edge(const Vertex& from, const Vertex& to) const {
    return Edge{{from.x - origin.x, from.y - origin.y}, {to.x - origin.x, to.y - origin.y}};
  }

  __device__ Stroke stroke(int i) const {
    Stroke s{};
    s.broken = true;
    if (i < range.begin || i >= range.end) return s;
    const float x0 = x[i], y0 = y[i], x1 = x[i + 1], y1 = y[i + 1];
    s.broken = !drawable(y0) || !drawable(y1);
    s.skipped = !s.broken && x0 == x1 && y0 == y1;
    if (s.broken || s.skipped) return s;
    s.at = clip_segment(x0, y0, x1, y1, right, bottom);
    const float dx = s.at.x1 - s.at.x0, dy = s.at.y1 - s.at.y0;
    s.length = sqrtf(dx * dx + dy * dy);
    s.broken = !s.at.drawn;
    s.skipped = s.at.drawn && s.length == 0.0f;
    if (s.length > 0.0f) s.ux = dx / s.length, s.uy = dy / s.length;
    return s;
  }

  // The segment that follows segment i (step = 1) or precedes it (step = -1).
  __device__ Stroke neighbour(int i, int step) const {
    Stroke other;
    do other = stroke(i += step);
    while (other.skipped);
    return other;
  }
};

// The end of a segment, at the join with the next one or at a cap: the corners of the outline on its left side (1) and
// on its right side (-1).
struct SegmentEnd {
  one_lane::Join join;
  Vertex at;
  bool capped;
  Cap cap;

  __device__ SegmentEnd(const StrokeShape& shape, const Stroke& a, const Stroke& b)
      : join(shape, a.ux, a.uy, a.length, b.ux, b.uy, b.length), at{a.at.x1, a.at.y1}, capped(b.broken || b.at.cut),
        cap(make_cap(a.at.x1, a.at.y1, shape.half * a.uy, -shape.half * a.ux, false)) {}

  __device__ bool inner(float side) const { return side * join.turn > 0.0f; }

  // Tells whether both sides meet in one corner.
  __device__ bool single(float side) const { return inner(side) ? join.mitred : join.straight; }

  __device__ int corners(float side) const {
    if (capped || single(side)) return 1;
    return inner(side) ? 2 : 2 + static_cast<int>(join.steps);
  }

  __device__ Vertex last(float side) const {
    if (capped) return side > 0.0f ? Vertex{cap.left_x, cap.left_y} : Vertex{cap.right_x, cap.right_y};
    const bool one = single(side);
    return corner(side * (one ? join.mx : join.n2x), side * (one ? join.my : join.n2y));
  }

  __device__ Vertex corner(float dx, float dy) const {
    return Vertex{one_lane::snapped(at.x + dx), one_lane::snapped(at.y + dy)};
  }
};

// Adds the edges of segment i, and of the join or cap at its end, to the queue if the segment is this lane's own. The
// lanes hold neighbouring segments. The first and the last segment of a warp only provide data for their neighbours.
template <class X, class Y, class Draw>
__device__ __forceinline__ void add_segment(const OutlinedLine<X, Y>& line, int i, bool own, EdgeQueue& queue,
                                            Draw draw) {
  const Stroke s = line.stroke(i);
  // If no segment is skipped, a segment's neighbours are in the adjacent lanes. Otherwise, each lane searches for its
  // own neighbours.
  const bool plain = !__any_sync(kAllLanes, s.skipped);
  Stroke after = s;
  after.ux = __shfl_down_sync(kAllLanes, s.ux, 1);
  after.uy = __shfl_down_sync(kAllLanes, s.uy, 1);
  after.length = __shfl_down_sync(kAllLanes, s.length, 1);
  const int flags = (s.broken ? 1 : 0) | (s.at.cut ? 2 : 0), next_flags = __shfl_down_sync(kAllLanes, flags, 1);
  after.broken = (next_flags & 1) != 0;
  after.at.cut = (next_flags & 2) != 0;
  bool starts = (__shfl_up_sync(kAllLanes, flags, 1) & 1) != 0 || s.at.cut;
  Vertex left{}, right{};
  if (!plain) {
    const Stroke before = line.neighbour(i, -1);
    starts = before.broken || s.at.cut;
    const SegmentEnd its(line.shape, before, s);
    left = its.last(1.0f), right = its.last(-1.0f);
    after = line.neighbour(i, 1);
  }
  const SegmentEnd end(line.shape, s, after);
  const Vertex end_left = end.last(1.0f), end_right = end.last(-1.0f);
  if (plain) {
    left = Vertex{__shfl_up_sync(kAllLanes, end_left.x, 1), __shfl_up_sync(kAllLanes, end_left.y, 1)};
    right = Vertex{__shfl_up_sync(kAllLanes, end_right.x, 1), __shfl_up_sync(kAllLanes, end_right.y, 1)};
  }
  if (starts) {
    const Cap cap = make_cap(s.at.x0, s.at.y0, line.shape.half * s.uy, -line.shape.half * s.ux, true);
    left = Vertex{cap.left_x, cap.left_y}, right = Vertex{cap.right_x, cap.right_y};
  }
  // The edges that close the outline at its beginning and end are added first, then the left side, and then the
  // reversed right side.
  const bool drawn = own && !s.broken && !s.skipped, ends = end.capped;
  const int lefts = end.corners(1.0f), edges = drawn ? lefts + end.corners(-1.0f) : 0;
  if (__any_sync(kAllLanes, drawn && (starts || ends))) {
    queue.add(drawn && starts && left.y != right.y, line.edge(right, left), draw);
    queue.add(drawn && ends && end_left.y != end_right.y, line.edge(end_left, end_right), draw);
  }
  Vertex from = left;
  float nx = 0.0f, ny = 0.0f;
#pragma unroll 1
  for (int e = 0; __any_sync(kAllLanes, e < edges); ++e) {
    const bool on_right = e >= lefts;
    const float side = on_right ? -1.0f : 1.0f;
    const int corner = on_right ? e - lefts : e;
    if (e == lefts) from = right;
    const float turned = nx * end.join.cosine - side * ny * end.join.sine;
    ny = corner == 0 ? side * end.join.n1y : ny * end.join.cosine + side * nx * end.join.sine;
    nx = corner == 0 ? side * end.join.n1x : turned;
    Vertex to = end.corner(nx, ny);
    if (e + 1 == lefts) to = end_left;
    if (e + 1 == edges) to = end_right;
    queue.add(e < edges && from.y != to.y, on_right ? line.edge(to, from) : line.edge(from, to), draw);
    from = to;
  }
}

// Calls draw(edge) for all edges of a line's outline that are not horizontal, by the whole block.
template <class X, class Y, class Draw>
__device__ __forceinline__ void draw_outline(const OutlinedLine<X, Y>& line, const Reserved& room, Draw draw) {
  constexpr int kEach = kWarp - 2;
  EdgeQueue queue(room);
#pragma unroll 1
  for (int base = line.range.begin + warp_index() * kEach; base < line.range.end; base += block_warps() * kEach) {
    add_segment(line, base - 1 + lane_index(), lane_index() > 0 && lane_index() <= kEach, queue, draw);
  }
  queue.flush(draw);
}

}  // namespace spectromer
