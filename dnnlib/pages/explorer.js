// The explorer's page: controls become the parameters of /image. One request is under way; of what changes meanwhile only
// the newest is asked for next.
(function () {
  'use strict';
  var facts = JSON.parse(document.getElementById('facts').textContent);
  var client = 'page-' + Math.random().toString(36).slice(2, 10);
  var byId = function (id) { return document.getElementById(id); };
  var image = byId('image'), status = byId('status');
  var START = { seed: 0, near: [], photo: '', psi: 0.7, cutoff: 8, noise: 'stored', noise_seed: null, noise_layers: null,
                class: '', mix: '', mix_from: 0, mix_to: Math.min(3, Math.max(facts.layers - 1, 0)),
                sliders: [0, 0, 0, 0], to: '', t: 0 };
  var state = copy(START), past = [], future = [], thumbs = [];
  var busy = false, wanted = null, playing = false, shownUrl = null, settleTimer = null, dragged = null, settled = null;

  function copy(value) { return JSON.parse(JSON.stringify(value)); }

  // The query of a state: what is left at its default is left out.
  function query(s) {
    var pairs = [['seed', s.seed], ['psi', s.psi], ['cutoff', s.cutoff], ['noise', s.noise]];
    if (s.near.length) pairs.push(['near', s.near.join(',')]);
    if (s.photo !== '') pairs.push(['photo', s.photo]);
    if (s.noise === 'random' && s.noise_seed !== null) pairs.push(['noise_seed', s.noise_seed]);
    if (s.noise === 'stored' && s.noise_layers) pairs.push(['noise_layers', s.noise_layers.join(',')]);
    if (s.class !== '') pairs.push(['class', s.class]);
    if (s.mix !== '') {
      pairs.push(['mix', s.mix]);
      pairs.push(['mix_layers', Math.min(s.mix_from, s.mix_to) + '-' + Math.max(s.mix_from, s.mix_to)]);
    }
    if (s.sliders.some(Boolean)) pairs.push(['sliders', s.sliders.slice(0, facts.directions.length).join(',')]);
    if (s.to !== '') { pairs.push(['to', s.to]); pairs.push(['t', s.t]); }
    return pairs.map(function (p) { return p[0] + '=' + encodeURIComponent(p[1]); }).join('&');
  }
  function address(path, q) { return path + '?token=' + encodeURIComponent(facts.token) + '&' + q; }

  // ---- Pictures
  function request() {
    wanted = query(state);
    ['png', 'latents'].forEach(function (kind) {
      byId('download-' + kind).href = address(kind === 'png' ? '/image' : '/latents', wanted);
    });
    if (!busy) next();
  }
  function next() {
    var q = wanted, began = performance.now();
    wanted = null;
    busy = true;
    fetch(address('/image', q + '&client=' + client)).then(function (answer) {
      if (answer.ok) return answer.blob();
      return answer.text().then(function (text) { throw new Error(text.trim()); });
    }).then(function (blob) {
      var url = URL.createObjectURL(blob);
      image.src = url;
      return image.decode().catch(function () {}).then(function () {
        if (shownUrl) URL.revokeObjectURL(shownUrl);
        shownUrl = url;
        image.dataset.query = q;
        keep();
        tell(Math.round(performance.now() - began) + ' ms', false);
      });
    }).catch(function (err) {
      tell(err instanceof TypeError ? 'explore.py does not answer any more' : err.message, true);
      image.dataset.failed = q;
      stop();
    }).then(function () {
      busy = false;
      if (wanted !== null) next();
      else if (playing) advance();
    });
  }
  function tell(text, isError) {
    status.textContent = text;
    status.className = isError ? 'error' : '';
  }

  // ---- Changes, undone and redone
  // One drag of a slider, or a number typed, is one step of the history: changes by the same `control` within half a second.
  function change(apply, control) {
    var before = copy(state);
    apply(state);
    if (JSON.stringify(before) === JSON.stringify(state)) return;
    if (settleTimer === null || !control || control !== dragged) { past.push(before); if (past.length > 200) past.shift(); }
    dragged = control;
    clearTimeout(settleTimer);
    settleTimer = setTimeout(settle, 500);
    future = [];
    show();
    request();
  }
  function settle() {
    settleTimer = null;
    settled = { q: query(state), state: copy(state) };
    keep();
  }
  // Puts what has settled before the others of the strip, once its picture is there: a small copy, for which the model need
  // not run again.
  function keep() {
    if (!settled || settled.q !== image.dataset.query || thumbs[0] === settled.q) return;
    var strip = byId('history'), kept = settled.state, button = document.createElement('button');
    var small = document.createElement('canvas');
    thumbs.unshift(settled.q);
    button.type = 'button';
    button.title = settled.q;
    button.setAttribute('aria-label', 'back to ' + settled.q);
    small.width = small.height = 64;
    small.getContext('2d').drawImage(image, 0, 0, 64, 64);
    button.appendChild(small);
    button.addEventListener('click', function () { change(function (s) { Object.assign(s, copy(kept)); }); });
    strip.insertBefore(button, strip.firstChild);
    while (strip.children.length > 30) strip.removeChild(strip.lastChild);
  }
  function go(from, to) {
    if (!from.length) return;
    clearTimeout(settleTimer);
    settleTimer = null;
    stop();
    to.push(copy(state));
    state = from.pop();
    show();
    request();
  }

  // ---- Controls show the state
  function show() {
    ['seed', 'photo', 'psi', 'cutoff', 'noise', 'class', 'mix', 'to', 't'].forEach(function (id) {
      var control = byId(id);
      if (control && document.activeElement !== control || control && control.type === 'range') control.value = state[id];
    });
    if (byId('mix-from')) { byId('mix-from').value = state.mix_from; byId('mix-to').value = state.mix_to; }
    state.sliders.forEach(function (value, index) { byId('slider-' + index).value = value; });
    document.querySelectorAll('#noise-layers input').forEach(function (box) {
      box.checked = !state.noise_layers || state.noise_layers.indexOf(+box.value) >= 0;
      box.disabled = state.noise !== 'stored';
    });
    document.querySelectorAll('output').forEach(function (output) {
      output.textContent = String(+(+byId(output.htmlFor[0]).value).toFixed(2));
    });
    if (byId('noise-again')) byId('noise-again').disabled = state.noise !== 'random';
    byId('undo').disabled = !past.length;
    byId('redo').disabled = !future.length;
    byId('step-back').disabled = !state.near.length;
    byId('play').disabled = state.to === '';
    byId('command').hidden = true;
  }
  function on(id, event, listener) { if (byId(id)) byId(id).addEventListener(event, listener); }
  // Latents that were given are shown as they are, as generate.py shows them, unless another ψ was chosen.
  function startFrom(s, photo) {
    if (photo !== '' && s.photo === '' && s.psi === START.psi) s.psi = 1;
    if (photo === '' && s.photo !== '' && s.psi === 1) s.psi = START.psi;
    s.photo = photo;
    s.near = [];
  }
  function setSeed(value, control) {
    change(function (s) { s.seed = Math.min(Math.max(value, 0), 4294967295); startFrom(s, ''); }, control);
  }
  function whole(text) { return /^\d{1,10}$/.test(text) && +text <= 4294967295 ? +text : null; }

  on('seed', 'input', function () { var v = whole(byId('seed').value); if (v !== null) setSeed(v, 'seed'); });
  on('seed-prev', 'click', function () { setSeed(state.seed - 1); });
  on('seed-next', 'click', function () { setSeed(state.seed + 1); });
  on('seed-random', 'click', function () { setSeed(Math.floor(Math.random() * 1e6)); });
  ['mix', 'to'].forEach(function (id) {
    on(id, 'input', function () {
      var text = byId(id).value, v = whole(text);
      if (text === '' || v !== null) change(function (s) { s[id] = text === '' ? '' : v; }, id);
      if (id === 'to' && text === '') stop();
    });
  });
  // What means nothing, such as a number cut short, gives way to what is shown.
  ['seed', 'mix', 'to'].forEach(function (id) { on(id, 'blur', show); });
  ['psi', 'cutoff', 't'].forEach(function (id) {
    on(id, 'input', function () { change(function (s) { s[id] = +byId(id).value; }, id); });
  });
  on('t', 'pointerdown', function () { stop(); });
  on('mix-from', 'input', function () { change(function (s) { s.mix_from = +byId('mix-from').value; }, 'mix-from'); });
  on('mix-to', 'input', function () { change(function (s) { s.mix_to = +byId('mix-to').value; }, 'mix-to'); });
  on('photo', 'change', function () { change(function (s) { startFrom(s, byId('photo').value); }); });
  on('class', 'change', function () { change(function (s) { s.class = byId('class').value.trim(); }); });
  on('noise', 'change', function () { change(function (s) { s.noise = byId('noise').value; }); });
  on('noise-again', 'click', function () {
    change(function (s) { s.noise_seed = Math.floor(Math.random() * 4294967295); });
  });
  on('noise-layers', 'change', function () {
    var boxes = Array.from(document.querySelectorAll('#noise-layers input'));
    var kept = boxes.filter(function (box) { return box.checked; }).map(function (box) { return +box.value; });
    change(function (s) { s.noise_layers = kept.length === boxes.length ? null : kept; });
  });
  document.querySelectorAll('.slide').forEach(function (slider, index) {
    slider.addEventListener('input', function () { change(function (s) { s.sliders[index] = +slider.value; }, slider.id); });
  });
  document.querySelector('form').addEventListener('submit', function (event) { event.preventDefault(); });

  on('undo', 'click', function () { go(past, future); });
  on('redo', 'click', function () { go(future, past); });
  on('reset', 'click', function () { stop(); change(function (s) { Object.assign(s, copy(START)); }); });
  on('show-command', 'click', function () {
    fetch(address('/command', query(state))).then(function (answer) { return answer.text(); }).then(function (text) {
      byId('command').textContent = text.trim();
      byId('command').hidden = false;
      if (navigator.clipboard) navigator.clipboard.writeText(text.trim()).then(function () { tell('copied', false); },
                                                                               function () {});
    }).catch(function () { tell('explore.py does not answer any more', true); });
  });

  // ---- The path, played there and back
  var PERIOD = 4000, playBegan = 0;
  function stop() {
    playing = false;
    byId('play').setAttribute('aria-pressed', 'false');
    byId('play').textContent = 'play';
  }
  function advance() {
    var phase = (performance.now() - playBegan) % PERIOD / PERIOD;
    state.t = +(phase < 0.5 ? 2 * phase : 2 - 2 * phase).toFixed(3);
    show();
    request();
  }
  on('play', 'click', function () {
    if (playing) return stop();
    if (state.to === '') return;
    playing = true;
    byId('play').setAttribute('aria-pressed', 'true');
    byId('play').textContent = 'stop';
    playBegan = performance.now() - state.t * PERIOD / 2;
    if (!busy) advance();
  });

  // ---- Neighbours
  on('neighbours', 'click', function () {
    var grid = byId('grid'), from = copy(state);
    grid.textContent = '';
    for (var number = 0; number < 8; number++) grid.appendChild(neighbour(from, number));
  });
  function neighbour(from, number) {
    var there = copy(from), button = document.createElement('button'), small = document.createElement('img');
    there.near.push(number);
    button.type = 'button';
    button.id = 'neighbour-' + number;
    small.alt = 'neighbour ' + (number + 1);
    // Of the same place in a newer grid, so that those of an older one are dropped.
    small.src = address('/image', query(there) + '&thumb=128&client=' + client + '-' + number);
    button.appendChild(small);
    button.addEventListener('click', function () {
      change(function (s) { s.near = there.near.slice(); s.seed = there.seed; });
      byId('neighbours').click();
    });
    return button;
  }
  on('step-back', 'click', function () { change(function (s) { s.near.pop(); }); });

  // ---- Keys, where no control needs them
  document.addEventListener('keydown', function (event) {
    var inControl = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z' && event.target.type !== 'text') {
      event.preventDefault();
      return event.shiftKey ? go(future, past) : go(past, future);
    }
    if (inControl || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'ArrowRight') setSeed(state.seed + 1, event.repeat && 'key');
    else if (event.key === 'ArrowLeft') setSeed(state.seed - 1, event.repeat && 'key');
    else if (event.key === 'r') byId('seed-random').click();
    else if (event.key === 'p') byId('play').click();
    else if (event.key === 'u') go(past, future);
    else return;
    event.preventDefault();
  });

  show();
  request();
  settle();
})();
