// Comparing pictures.
import { PNG } from "pngjs";

export const decode = (png) => PNG.sync.read(png);

/** Luma, 0 to 255 (BT.709). */
function luma({ width, height, data }) {
  const out = new Float32Array(width * height);
  for (let i = 0; i < out.length; i += 1) {
    out[i] = 0.2126 * data[4 * i] + 0.7152 * data[4 * i + 1] + 0.0722 * data[4 * i + 2];
  }
  return out;
}

/** How alike two pictures of the same size are: PSNR in dB over RGB, and mean SSIM of luma over 8x8 blocks. */
export function compare(a, b) {
  if (a.width !== b.width || a.height !== b.height) {
    throw new Error(`sizes differ: ${a.width}x${a.height} and ${b.width}x${b.height}`);
  }
  let sum = 0;
  const n = a.width * a.height;
  for (let i = 0; i < 4 * n; i += 1) if (i % 4 !== 3) sum += (a.data[i] - b.data[i]) ** 2;
  const mse = sum / (3 * n);
  return { psnr: mse === 0 ? Infinity : 10 * Math.log10(255 ** 2 / mse), ssim: ssim(a, b) };
}

/** Wang et al. 2004, with blocks instead of a Gaussian window. */
function ssim(a, b) {
  const [la, lb] = [luma(a), luma(b)];
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
  let total = 0;
  let blocks = 0;
  for (let y = 0; y + 8 <= a.height; y += 8) {
    for (let x = 0; x + 8 <= a.width; x += 8) {
      let [sa, sb, saa, sbb, sab] = [0, 0, 0, 0, 0];
      for (let j = 0; j < 8; j += 1) {
        for (let i = 0; i < 8; i += 1) {
          const at = (y + j) * a.width + x + i;
          sa += la[at];
          sb += lb[at];
          saa += la[at] ** 2;
          sbb += lb[at] ** 2;
          sab += la[at] * lb[at];
        }
      }
      const [ma, mb] = [sa / 64, sb / 64];
      const [va, vb, cov] = [saa / 64 - ma * ma, sbb / 64 - mb * mb, sab / 64 - ma * mb];
      total += ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
      blocks += 1;
    }
  }
  return total / blocks;
}

/** Share of the pixels that differ clearly from the picture's top corner, which is background. */
export function covered({ width, height, data }) {
  let n = 0;
  for (let y = 0; y < height; y += 1) {
    // The background may shade from top to bottom: compare within the row.
    const edge = 4 * y * width;
    for (let x = 0; x < width; x += 1) {
      const at = 4 * (y * width + x);
      const far = Math.max(...[0, 1, 2].map((c) => Math.abs(data[at + c] - data[edge + c])));
      if (far > 12) n += 1;
    }
  }
  return n / (width * height);
}
