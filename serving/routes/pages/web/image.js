// The input of an image: a board to draw on, a file to choose, and what the model gets of it.
const BOARD_PIXELS = 280;
const PEN_SHARE = 1 / 11;

function imageInput(feature) {
  const [height, width] = feature.size;
  const scale = Math.max(1, Math.round(BOARD_PIXELS / Math.max(height, width)));
  const board = node("canvas", { className: "board", width: width * scale, height: height * scale, attributes: { role: "img", "aria-label": say("drawHere") } });
  const small = node("canvas", { className: "small-image", width, height, attributes: { role: "img", "aria-label": say("modelGets") } });
  const pen = board.getContext("2d", { willReadFrequently: true });
  const control = node("input", { type: "file", accept: "image/*" });
  const clear = node("button", { type: "button", textContent: say("clear") });
  let value = null; // base64 of a PNG, as it is sent
  let dark = true; // the paper, as in the examples

  const changed = () => {
    shrink(pen, scale, small, feature.channels);
    value = small.toDataURL("image/png").split(",")[1];
  };
  const wipe = () => {
    pen.fillStyle = dark ? "black" : "white";
    pen.fillRect(0, 0, board.width, board.height);
    shrink(pen, scale, small, feature.channels);
    value = null;
  };
  const show = picture => {
    pen.fillStyle = "white"; // what is transparent is white, as in the service
    pen.fillRect(0, 0, board.width, board.height);
    pen.imageSmoothingEnabled = picture.width > width || picture.height > height;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, 0, 0, board.width, board.height);
  };
  letDraw(board, pen, () => dark ? "white" : "black", () => {
    changed();
    control.value = "";
    control.dispatchEvent(new Event("input"));
  });
  clear.addEventListener("click", () => { wipe(); control.value = ""; });
  control.addEventListener("change", async () => {
    const [file] = control.files;
    if (!file) return;
    try {
      show(await createImageBitmap(file));
      changed();
    } catch {
      wipe();
      control.value = "";
      part(`${control.id}-problem`).textContent = say("notImage");
    }
  });
  wipe();
  return {
    control,
    className: "image-field",
    more: [
      node("div", { className: "boards" }, board, node("figure", {}, small, text("figcaption", "hint", say("modelGets")))),
      node("p", { className: "actions" }, clear, text("span", "hint", say("drawHere"))),
    ],
    read: () => value ?? empty(feature),
    write(base64) {
      value = base64;
      control.value = "";
      if (base64 === null) return wipe();
      const picture = new Image();
      picture.onload = () => {
        if (value !== base64) return; // something was drawn meanwhile
        show(picture);
        shrink(pen, scale, small, feature.channels);
        dark = isDark(small);
      };
      picture.src = `data:image/png;base64,${base64}`;
    },
  };
}

/** Each pixel of `small` is the mean of its square on the board: what is seen there is what is sent. */
function shrink(pen, scale, small, channels) {
  const { width, height } = small;
  const board = pen.getImageData(0, 0, width * scale, height * scale).data;
  const sums = new Float64Array(width * height * 3);
  for (let y = 0, at = 0; y < height * scale; y += 1) {
    for (let x = 0; x < width * scale; x += 1, at += 4) {
      const pixel = 3 * (Math.floor(y / scale) * width + Math.floor(x / scale));
      for (let channel = 0; channel < 3; channel += 1) sums[pixel + channel] += board[at + channel];
    }
  }
  const context = small.getContext("2d");
  const image = context.createImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    const colour = [0, 1, 2].map(channel => sums[3 * pixel + channel] / scale ** 2);
    const grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]; // ITU-R BT.601, as Pillow does
    image.data.set([...(channels === 1 ? [grey, grey, grey] : colour).map(Math.round), 255], 4 * pixel);
  }
  context.putImageData(image, 0, 0);
}

/** Lines that follow a mouse, a pen or a finger; `drawn` is called after each piece of one. */
function letDraw(board, pen, ink, drawn) {
  let last = null;
  const place = event => {
    const box = board.getBoundingClientRect();
    return [(event.clientX - box.left) * board.width / box.width, (event.clientY - box.top) * board.height / box.height];
  };
  const line = event => {
    const [from, to] = [last ?? place(event), place(event)];
    Object.assign(pen, { strokeStyle: ink(), lineWidth: Math.max(board.width, board.height) * PEN_SHARE, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
    last = to;
    drawn();
  };
  board.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    event.preventDefault();
    board.setPointerCapture(event.pointerId);
    line(event);
  });
  board.addEventListener("pointermove", event => { if (last) line(event); });
  for (const end of ["pointerup", "pointercancel"]) board.addEventListener(end, () => { last = null; });
}

/** Whether the paper is dark: by the corners, where seldom anything is drawn. */
function isDark(small) {
  const { width, height } = small;
  const corners = [[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]];
  const light = corners.map(([x, y]) => small.getContext("2d").getImageData(x, y, 1, 1).data[1]);
  return light.reduce((sum, one) => sum + one, 0) / light.length < 128;
}
