// What normalize multiplies and adds per channel, made from statistics, gamma and beta.
#pragma once

#include "plan.h"

namespace kernel {
namespace {

// The coefficients of normalize, in the type that the elements are computed in.
class Prepared {
 public:
  Prepared(const Job& job, Scratch& scratch, const Affine& affine)
      : narrow_(job.element != Element::float64), sixteen_bit_(bytes_of(job.element) == 2), affine_(affine) {
    const Index channels = job.view.channels;
    for (double*& array : wide_) array = scratch.take(channels);
    if (narrow_) {
      for (float*& array : float_) array = scratch.take<float>(channels);
      careful_ = scratch.take<unsigned char>(channels);
    }
  }
  static Index doubles(Index channels) {
    return 4 * Scratch::padded(channels) + 5 * Scratch::padded(ceil_div(channels, 2));
  }

  // Whether some of the channels need care.
  bool fill(const Statistics& s, Index c, Index end) {
    bool any = false;
    for (; c < end; c++) {
      const double scale = affine_.gamma ? s.inv_std[c] * affine_.gamma[c] : s.inv_std[c];
      const double shift = affine_.beta ? affine_.beta[c] : 0;
      wide_[0][c] = s.mean[c];
      wide_[1][c] = s.residual[c];
      wide_[2][c] = scale;
      wide_[3][c] = shift;
      if (!narrow_) continue;
      const float mean = static_cast<float>(s.mean[c]);
      float_[0][c] = mean;
      float_[1][c] = static_cast<float>((s.mean[c] - static_cast<double>(mean)) + s.residual[c]);
      if (!std::isfinite(mean)) float_[1][c] = 0;
      float_[2][c] = static_cast<float>(scale);
      const double rest = sixteen_bit_ && float_[1][c] != 0 ? static_cast<double>(float_[1][c]) * scale : 0;
      float_[3][c] = static_cast<float>(shift - rest);
      // Where x - mean could overflow a float, or the scale has no float with all its digits.
      const double size = std::fabs(scale);
      careful_[c] = (std::isfinite(s.mean[c]) && std::fabs(s.mean[c]) > 0x1p100) ||
                    (std::isfinite(scale) && scale != 0 && (size < 0x1p-100 || size > 0x1p126)) ||
                    (std::isfinite(shift) && std::fabs(shift) > 0x1p127) || std::fabs(rest) > 0x1p126;
      for (float* of : {float_[0], float_[2], float_[3]}) {
        if (sixteen_bit_) of[c] = usual(of[c]);
      }
      any = any || careful_[c];
    }
    return any;
  }
  Coefficients coefficients(bool careful) const {
    Coefficients k = {wide_[0], wide_[1], wide_[2], wide_[3], careful ? careful_ : nullptr,
                      wide_[0], wide_[1], wide_[2], wide_[3]};
    if (narrow_) k.mean = float_[0], k.residual = float_[1], k.scale = float_[2], k.shift = float_[3];
    return k;
  }

 private:
  bool narrow_, sixteen_bit_;
  Affine affine_;
  double* wide_[4];
  float* float_[4] = {};
  unsigned char* careful_ = nullptr;
};

}  // namespace
}  // namespace kernel
