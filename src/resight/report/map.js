"use strict";
(() => {
  const find = id => document.getElementById(id);
  const data = JSON.parse(find("map-data").textContent);
  const canvas = find("map-points"), crop = find("map-crop"), told = find("map-told"), by = find("map-by");
  // Okabe and Ito's colours, told apart with any kind of colour vision; with the shapes beside them 42 kinds.
  const colours = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a800"];
  const shapes = 6, listed = 14;
  const view = { scale: 1, x: data.side / 2, y: data.side / 2 };
  let colouring = null, hovered = -1, kept = -1;
  const sheets = [];

  function shapeAt(pen, kind, x, y, r) {
    pen.beginPath();
    if (kind === 0) pen.arc(x, y, r, 0, 7);
    else if (kind === 1) pen.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
    else {
      const corners = [
        [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]], [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
        [[0, 1.2], [1.1, -0.8], [-1.1, -0.8]],
        [[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2],
          [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]],
      ][kind - 2];
      corners.forEach(([dx, dy], i) => i ? pen.lineTo(x + dx * r, y + dy * r) : pen.moveTo(x + dx * r, y + dy * r));
      pen.closePath();
    }
  }
  function mark(pen, kind, x, y, r) {
    shapeAt(pen, kind < 0 ? 0 : kind % shapes, x, y, kind < 0 ? r * 0.7 : r);
    pen.fillStyle = kind < 0 ? "#8a8f94" : colours[kind % colours.length];
    pen.fill();
  }
  function kindOf(point) { return colouring ? colouring.of[point] : -1; }
  function step() { return (Math.min(canvas.clientWidth, canvas.clientHeight) - 24) / data.side * view.scale; }
  function toScreen(point) {
    const [x, y] = data.points[point], s = step();
    return [(x - view.x) * s + canvas.clientWidth / 2, (y - view.y) * s + canvas.clientHeight / 2];
  }
  function draw() {
    const wide = canvas.clientWidth, high = canvas.clientHeight;
    if (!wide) return;
    canvas.width = Math.round(wide * devicePixelRatio);
    canvas.height = Math.round(high * devicePixelRatio);
    const pen = canvas.getContext("2d"), r = wide < 500 ? 3.5 : 4;
    pen.scale(devicePixelRatio, devicePixelRatio);
    const out = kept >= 0 ? kindOf(kept) : -1;
    for (const pass of [0, 1]) {
      for (let point = 0; point < data.points.length; point++) {
        const like = out < 0 || kindOf(point) === out;
        if (like !== (pass === 1)) continue;
        const [x, y] = toScreen(point);
        if (x < -9 || y < -9 || x > wide + 9 || y > high + 9) continue;
        pen.globalAlpha = like ? 0.9 : 0.15;
        mark(pen, kindOf(point), x, y, like && out >= 0 ? r * 1.5 : r);
      }
    }
    pen.globalAlpha = 1;
    for (const point of [kept, hovered]) {
      if (point < 0) continue;
      const [x, y] = toScreen(point);
      pen.beginPath();
      pen.arc(x, y, r * 2.4, 0, 7);
      pen.strokeStyle = getComputedStyle(document.body).color;
      pen.lineWidth = 2;
      pen.stroke();
    }
  }
  function line(text) {
    const p = document.createElement("p");
    p.textContent = text;
    return p;
  }
  function show() {
    const point = hovered >= 0 ? hovered : kept;
    crop.hidden = true;
    if (point < 0) { told.replaceChildren(line("No image is pointed at.")); draw(); return; }
    const lines = [line(data.names[point])];
    for (const found of data.colourings) {
      const label = found.of[point] < 0 ? found.name + " not known" : found.labels[found.of[point]];
      lines.push(line(found.of[point] < 0 && found.name === "group" ? "in no group" : label));
    }
    if (data.slots[point] < 0) lines.push(line("(no picture of it in this file)"));
    told.replaceChildren(...lines);
    showCrop(point);
    draw();
  }
  function showCrop(point) {
    const slot = data.slots[point], each = data.across * data.across, [wide, high] = data.cell;
    if (slot < 0) return;
    const place = Math.floor(slot / each), within = slot % each;
    if (!sheets[place]) {  // a sheet is decoded when an image on it is first asked for
      sheets[place] = new Image();
      sheets[place].src = data.sheets[place];
    }
    const sheet = sheets[place];
    if (!sheet.complete) { sheet.onload = () => show(); return; }
    crop.width = wide; crop.height = high;
    crop.style.width = wide * 2 + "px"; crop.style.height = high * 2 + "px";
    crop.getContext("2d").drawImage(
      sheet, within % data.across * wide, Math.floor(within / data.across) * high, wide, high, 0, 0, wide, high);
    crop.setAttribute("aria-label", "image " + data.names[point]);
    crop.hidden = false;
  }
  function nearest(event, reach) {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = reach * reach;
    for (let point = 0; point < data.points.length; point++) {
      const [px, py] = toScreen(point), apart = (px - x) ** 2 + (py - y) ** 2;
      if (apart < least) { least = apart; best = point; }
    }
    return best;
  }
  function next(dx, dy) {
    if (kept < 0) return data.points.length ? 0 : -1;
    const [x, y] = toScreen(kept);
    let best = kept, least = Infinity;
    for (let point = 0; point < data.points.length; point++) {
      const [px, py] = toScreen(point), along = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy - (py - y) * dx);
      if (along > 0.5 && along + 2 * aside < least) { least = along + 2 * aside; best = point; }
    }
    return best;
  }
  function zoom(factor) {
    if (kept >= 0 && factor > 1) [view.x, view.y] = data.points[kept];
    view.scale = Math.min(40, Math.max(1, view.scale * factor));
    if (view.scale === 1) view.x = view.y = data.side / 2;
    canvas.classList.toggle("zoomed", view.scale > 1);
    draw();
  }
  function legend() {
    const list = find("map-legend");
    list.replaceChildren();
    if (!colouring) return;
    colouring.labels.slice(0, listed).forEach((label, kind) => list.append(entry(kind, label, colouring.counts[kind])));
    const more = colouring.labels.length - listed;
    if (more > 0) {
      const item = document.createElement("li");
      item.textContent = "and " + more + " more; colours and shapes come again";
      list.append(item);
    }
    const without = colouring.of.filter(kind => kind < 0).length;
    if (without) list.append(entry(-1, colouring.name === "group" ? "in no group" : "not known", without));
  }
  function entry(kind, label, count) {
    const item = document.createElement("li"), sample = document.createElement("canvas");
    sample.width = sample.height = 36;
    sample.setAttribute("aria-hidden", "true");
    mark(sample.getContext("2d"), kind, 18, 18, 10);
    item.append(sample, label + " (" + count + ")");
    return item;
  }
  let dragged = null;
  canvas.addEventListener("pointerdown", event => { dragged = { x: event.clientX, y: event.clientY, moved: false }; });
  canvas.addEventListener("pointermove", event => {
    if (dragged && view.scale > 1) {
      const dx = event.clientX - dragged.x, dy = event.clientY - dragged.y, s = step();
      if (dragged.moved || Math.hypot(dx, dy) > 5) {
        view.x -= dx / s; view.y += dy / s;
        dragged = { x: event.clientX, y: event.clientY, moved: true };
        draw();
        return;
      }
    }
    if (event.pointerType !== "mouse") return;
    const found = nearest(event, 16);
    if (found !== hovered) { hovered = found; show(); }
  });
  canvas.addEventListener("pointerup", event => {
    const moved = dragged && dragged.moved;
    dragged = null;
    if (moved) return;
    const found = nearest(event, event.pointerType === "mouse" ? 16 : 26);
    kept = found === kept ? -1 : found;
    hovered = -1;
    show();
  });
  canvas.addEventListener("pointerleave", () => { dragged = null; if (hovered >= 0) { hovered = -1; show(); } });
  canvas.addEventListener("pointercancel", () => { dragged = null; });
  const keys = {
    ArrowRight: () => { kept = next(1, 0); }, ArrowLeft: () => { kept = next(-1, 0); },
    ArrowUp: () => { kept = next(0, -1); }, ArrowDown: () => { kept = next(0, 1); }, Escape: () => { kept = -1; },
    "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6),
  };
  canvas.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    hovered = -1;
    keys[event.key]();
    show();
  });
  find("map-in").onclick = () => zoom(1.6);
  find("map-out").onclick = () => zoom(1 / 1.6);
  find("map-all").onclick = () => zoom(0);
  data.colourings.forEach((found, place) => {
    const option = document.createElement("option");
    option.value = place;
    option.textContent = found.name;
    by.append(option);
  });
  by.onchange = () => { colouring = data.colourings[Number(by.value)] || null; legend(); show(); };
  addEventListener("resize", draw);
  // The section is laid out when it comes near the screen; only then has the canvas a size.
  new ResizeObserver(draw).observe(canvas);
  by.onchange();
})();
