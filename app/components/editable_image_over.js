// What lies over the picture while a mask is mended: the preview below the pointer, a stroke of the brush, a mark.
const PREVIEW = { true: [40, 200, 110, 165], false: [240, 70, 60, 165] }; // what would be added, or taken away

class Over {
  // image: an EditableImage, whose place in the frame is drawn on.
  constructor(image) {
    this.image = image;
    this.canvas = element("canvas", "over");
    image.frame.insertBefore(this.canvas, image.find(".lines"));
  }

  // cells: of the preview's grid, those that a click would change; adds: whether it would add them.
  preview(cells, { rows, cols }, adds) {
    const pixels = new ImageData(cols, rows);
    cells.forEach((value, place) => {
      if (value) pixels.data.set(PREVIEW[adds], 4 * place);
    });
    const small = new OffscreenCanvas(cols, rows);
    small.getContext("2d").putImageData(pixels, 0, 0);
    this.draw((pen, place) => {
      pen.imageSmoothingEnabled = true;
      pen.drawImage(small, ...place);
    });
  }

  // points: in shares of the photo; radius: in shares of its width.
  stroke(points, radius, adds) {
    this.draw((pen, [x, y, width, height]) => {
      const [r, g, b] = PREVIEW[adds];
      pen.strokeStyle = pen.fillStyle = `rgba(${r}, ${g}, ${b}, 0.6)`;
      Object.assign(pen, { lineWidth: 2 * radius * width, lineCap: "round", lineJoin: "round" });
      pen.beginPath();
      for (const [u, v] of points) pen.lineTo(x + u * width, y + v * height);
      if (points.length > 1) pen.stroke();
      else {
        pen.arc(x + points[0][0] * width, y + points[0][1] * height, radius * width, 0, 2 * Math.PI);
        pen.fill();
      }
    });
  }

  mark([u, v]) {
    this.draw((pen, [x, y, width, height], ratio) => {
      pen.fillStyle = "#fff";
      pen.strokeStyle = "#000";
      pen.lineWidth = ratio;
      pen.beginPath();
      pen.arc(x + u * width, y + v * height, 6 * ratio, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    });
  }

  draw(paint) {
    const { place, frame } = this.image;
    if (!place) return;
    const ratio = window.devicePixelRatio || 1;
    const size = [frame.clientWidth, frame.clientHeight].map((side) => Math.round(side * ratio));
    [this.canvas.width, this.canvas.height] = size; // which empties it
    const sides = [place.x, place.y, place.width, place.height].map((side) => side * ratio);
    paint(this.canvas.getContext("2d"), sides, ratio);
  }

  clear() {
    this.canvas.width = 0;
  }
}

// A point in shares of the photo as pixels of it, to a tenth.
function placeOf([u, v], [width, height]) {
  const inside = (share) => Math.min(Math.max(share, -0.5), 1.5);
  return { x: Math.round(inside(u) * width * 10) / 10, y: Math.round(inside(v) * height * 10) / 10 };
}

function pixelsOf(image, width, height) {
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height).data;
}

function alphaOf(image, width, height) {
  const pixels = pixelsOf(image, width, height);
  return { alpha: Uint8Array.from({ length: width * height }, (_, place) => pixels[4 * place + 3]), width, height };
}

function redOf(image) {
  const pixels = pixelsOf(image, image.naturalWidth, image.naturalHeight);
  return Uint8Array.from({ length: pixels.length / 4 }, (_, place) => pixels[4 * place]);
}
