// The stroke as Anti-Grain Geometry, matplotlib's renderer, draws it: an outline with round outer and mitred inner
// joins and square caps, filled by its winding integral clipped at 1. Overlapping strokes add up, unlike the true
// area. After agg_math_stroke.h and agg_rasterizer_scanline_aa.h of AGG 2.4 (M. Shemanarev). CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"
#include "raster.h"

namespace spectromer {

struct Point {
  double x, y;
};

SPECTROMER_HD double distance(Point a, Point b) { return sqrt((b.x - a.x) * (b.x - a.x) + (b.y - a.y) * (b.y - a.y)); }

// Signed area of the polygon's cells, as differences along each row: their prefix sum is the winding integral.
struct AreaAccumulator {
  float* area;  // [height, width + 1]
  int64_t height, width;

  SPECTROMER_HD void add(int64_t row, int64_t column, double value) {
    area[row * (width + 1) + column] += static_cast<float>(value);
  }

  // What an edge that crosses one row from x = a to x = b (any order) with signed height d leaves in that row.
  SPECTROMER_HD void add_crossing(int64_t row, double a, double b, double d) {
    const double left = fmin(a, b), right = fmax(a, b);
    const int64_t first = static_cast<int64_t>(left);
    const int64_t end = static_cast<int64_t>(ceil(right));
    if (end <= first + 1) {
      const double mean = 0.5 * (left + right) - static_cast<double>(first);
      add(row, first, d * (1.0 - mean));
      if (first < width) add(row, first + 1, d * mean);
      return;
    }
    const double slope = 1.0 / (right - left);
    double before = 0.0;
    for (int64_t cell = first; cell <= end && cell <= width; ++cell) {
      // Share of this cell that lies right of the edge, averaged over the crossing; 1 in every later cell.
      const double started = fmax(static_cast<double>(cell) - left, 0.0);
      const double reached = fmin(static_cast<double>(cell + 1), right) - left;
      const double beyond = fmax(static_cast<double>(cell + 1) - right, 0.0);
      const double share = cell < end ? 0.5 * slope * (reached * reached - started * started) + beyond : 1.0;
      add(row, cell, d * (share - before));
      before = share;
    }
  }

  // An edge that lies between x = 0 and x = width.
  SPECTROMER_HD void add_inside(Point p, Point q) {
    if (p.y == q.y) return;
    const double direction = p.y < q.y ? 1.0 : -1.0;
    const Point top = p.y < q.y ? p : q, bottom = p.y < q.y ? q : p;
    const double slope = (bottom.x - top.x) / (bottom.y - top.y);
    const double y0 = fmax(top.y, 0.0), y1 = fmin(bottom.y, static_cast<double>(height));
    if (y0 >= y1) return;
    for (int64_t row = static_cast<int64_t>(y0); static_cast<double>(row) < y1; ++row) {
      const double from = fmax(y0, static_cast<double>(row)), to = fmin(y1, static_cast<double>(row + 1));
      const double w = static_cast<double>(width);
      const double a = fmin(fmax(top.x + (from - top.y) * slope, 0.0), w);
      const double b = fmin(fmax(top.x + (to - top.y) * slope, 0.0), w);
      add_crossing(row, a, b, direction * (to - from));
    }
  }

  // Any edge: what lies beside the image is projected onto its border, so that the winding stays right.
  SPECTROMER_HD void edge(Point p, Point q) {
    const double borders[2] = {0.0, static_cast<double>(width)};
    Point parts[4] = {p, p, q, q};
    int count = 1;
    const bool rightward = q.x > p.x;
    for (int k = 0; k < 2; ++k) {
      const double border = borders[rightward ? k : 1 - k];
      if ((p.x < border) != (q.x < border) && p.x != border && q.x != border) {
        parts[count++] = Point{border, p.y + (border - p.x) / (q.x - p.x) * (q.y - p.y)};
      }
    }
    parts[count] = q;
    for (int k = 0; k < count; ++k) {
      Point a = parts[k], b = parts[k + 1];
      a.x = fmin(fmax(a.x, borders[0]), borders[1]);
      b.x = fmin(fmax(b.x, borders[0]), borders[1]);
      add_inside(a, b);
    }
  }
};

// A closed polygon in the making; AGG rounds its vertices to 1/256 pixel.
struct Polygon {
  AreaAccumulator& sink;
  Point first{0.0, 0.0}, last{0.0, 0.0};
  bool empty = true;

  SPECTROMER_HD explicit Polygon(AreaAccumulator& accumulator) : sink(accumulator) {}

  SPECTROMER_HD void add(double x, double y) {
    const Point p{floor(x * 256.0 + 0.5) / 256.0, floor(y * 256.0 + 0.5) / 256.0};
    if (empty) first = p; else sink.edge(last, p);
    last = p;
    empty = false;
  }

  SPECTROMER_HD void close() {
    if (!empty) sink.edge(last, first);
  }
};

// Twice the signed area of the triangle; its sign says on which side of a -> b the point p lies.
SPECTROMER_HD double cross(Point a, Point b, Point p) { return (p.x - b.x) * (b.y - a.y) - (p.y - b.y) * (b.x - a.x); }

SPECTROMER_HD bool intersect(Point a, Point b, Point c, Point d, Point& out) {
  const double denominator = (b.x - a.x) * (d.y - c.y) - (b.y - a.y) * (d.x - c.x);
  if (fabs(denominator) < 1e-30) return false;
  const double u = ((a.y - c.y) * (d.x - c.x) - (a.x - c.x) * (d.y - c.y)) / denominator;
  out = Point{a.x + u * (b.x - a.x), a.y + u * (b.y - a.y)};
  return true;
}

SPECTROMER_HD void add_cap(Polygon& polygon, Point end, Point inner, double half) {
  const double length = distance(end, inner);
  const double dx = half * (inner.y - end.y) / length, dy = half * (inner.x - end.x) / length;
  polygon.add(end.x - dx - dy, end.y + dy - dx);
  polygon.add(end.x + dx - dy, end.y - dy - dx);
}

// The outline's left side at v1, coming from v0 and going to v2.
SPECTROMER_HD void add_join(Polygon& polygon, Point v0, Point v1, Point v2, double half) {
  const double pi = 3.14159265358979323846;
  const double length1 = distance(v0, v1), length2 = distance(v1, v2);
  const double dx1 = half * (v1.y - v0.y) / length1, dy1 = half * (v1.x - v0.x) / length1;
  const double dx2 = half * (v2.y - v1.y) / length2, dy2 = half * (v2.x - v1.x) / length2;
  const Point in0{v0.x + dx1, v0.y - dy1}, in1{v1.x + dx1, v1.y - dy1};
  const Point out1{v1.x + dx2, v1.y - dy2}, out2{v2.x + dx2, v2.y - dy2};
  Point meet{v1.x, v1.y};
  if (cross(v0, v1, v2) > 0.0) {  // inner side: a miter where it stays within the segments
    const double limit = half * fmax(fmin(length1, length2) / half, 1.01);
    if (intersect(in0, in1, out1, out2, meet)) {
      if (distance(v1, meet) <= limit) {
        polygon.add(meet.x, meet.y);
        return;
      }
    } else if ((cross(v0, v1, in1) < 0.0) == (cross(v1, v2, in1) < 0.0)) {
      polygon.add(in1.x, in1.y);
      return;
    }
    polygon.add(in1.x, in1.y);
    polygon.add(out1.x, out1.y);
    return;
  }
  const double mx = 0.5 * (dx1 + dx2), my = 0.5 * (dy1 + dy2);
  if (half - sqrt(mx * mx + my * my) < half / 1024.0) {  // nearly straight: one point will do
    if (!intersect(in0, in1, out1, out2, meet)) meet = in1;
    polygon.add(meet.x, meet.y);
    return;
  }
  double angle = atan2(-dy1, dx1), end = atan2(-dy2, dx2);
  if (angle > end) end += 2.0 * pi;
  const int steps = static_cast<int>((end - angle) / (2.0 * acos(half / (half + 0.125))));
  const double step = (end - angle) / (steps + 1);
  polygon.add(in1.x, in1.y);
  for (int i = 0; i < steps; ++i) {
    angle += step;
    polygon.add(v1.x + cos(angle) * half, v1.y + sin(angle) * half);
  }
  polygon.add(out1.x, out1.y);
}

// Index of the next point, in direction `step`, that does not coincide with point i; `stop` where there is none.
SPECTROMER_HD int64_t next_distinct(const float* x, const float* y, int64_t i, int64_t step, int64_t stop) {
  int64_t j = i + step;
  while (j != stop && x[j] == x[i] && y[j] == y[i]) j += step;
  return j;
}

// One side of the stroke of points [begin, end), walked in direction `step`: its cap, then its joins.
SPECTROMER_HD void add_side(Polygon& polygon, const float* x, const float* y, int64_t from, int64_t stop, int64_t step,
                            double half) {
  int64_t previous = from, current = next_distinct(x, y, from, step, stop);
  const auto at = [&](int64_t i) { return Point{static_cast<double>(x[i]), static_cast<double>(y[i])}; };
  add_cap(polygon, at(previous), at(current), half);
  for (int64_t next = next_distinct(x, y, current, step, stop); next != stop;
       next = next_distinct(x, y, current, step, stop)) {
    add_join(polygon, at(previous), at(current), at(next), half);
    previous = current;
    current = next;
  }
}

// Outlines every unbroken piece of the line; a piece that is a single point leaves nothing, as in AGG.
SPECTROMER_HD void stroke_outline(const float* x, const float* y, int64_t points, double half, AreaAccumulator& sink) {
  for (int64_t begin = 0; begin < points; ++begin) {
    if (!drawable(y[begin])) continue;
    int64_t end = begin + 1;
    while (end < points && drawable(y[end])) ++end;
    if (next_distinct(x, y, begin, 1, end) != end) {
      Polygon polygon(sink);
      add_side(polygon, x, y, begin, end, 1, half);
      add_side(polygon, x, y, end - 1, begin - 1, -1, half);
      polygon.close();
    }
    begin = end;
  }
}

// AGG's levels: 256 steps of area, the last two shared.
SPECTROMER_HD void resolve_agg_row(const float* area, int64_t width, uint8_t* out) {
  float sum = 0.0f;
  for (int64_t column = 0; column < width; ++column) {
    sum += area[column];
    out[column] = static_cast<uint8_t>(fminf(256.0f * fabsf(sum) + 1e-3f, 255.0f));
  }
}

}  // namespace spectromer
