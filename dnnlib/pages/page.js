// Copy buttons, pictures that enlarge, and the slider of a run's samples. Without scripts a page still shows all but these.
(function () {
  document.querySelectorAll('.command').forEach(function (block) {
    var button = document.createElement('button'), text = block.querySelector('pre').textContent;
    button.type = 'button';
    button.textContent = 'copy';
    button.addEventListener('click', function () {
      function done(word) {
        button.textContent = word;
        setTimeout(function () { button.textContent = 'copy'; }, 1500);
      }
      function byHand() {   // pages that are no secure context have no clipboard
        var selection = window.getSelection(), range = document.createRange();
        range.selectNodeContents(block.querySelector('pre'));
        selection.removeAllRanges();
        selection.addRange(range);
        done(document.execCommand('copy') ? 'copied' : 'selected');
      }
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(function () { done('copied'); }, byHand);
      else byHand();
    });
    block.appendChild(button);
  });

  var large = document.createElement('dialog');
  if (large.showModal) {
    large.appendChild(document.createElement('img'));
    document.body.appendChild(large);
    large.addEventListener('click', function () { large.close(); });
    document.querySelectorAll('a.enlarge').forEach(function (link) {
      link.addEventListener('click', function (event) {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        var picture = large.firstChild, shown = link.querySelector('img');
        picture.src = link.href;
        picture.alt = shown.alt;
        picture.className = shown.className;
        large.showModal();
      });
    });
  }

  var samples = document.getElementById('samples-data');
  if (!samples) return;
  var data = JSON.parse(samples.textContent);
  var picture = document.getElementById('picture'), time = document.getElementById('time');
  var label = document.getElementById('label'), reals = document.getElementById('reals');
  function put(url) { picture.src = picture.parentNode.href = url; }
  function show() {
    put(data.pictures[time.value]);
    label.textContent = data.labels[time.value];
    if (reals) reals.setAttribute('aria-pressed', 'false');
  }
  time.addEventListener('input', show);
  if (reals) reals.addEventListener('click', function () {
    if (reals.getAttribute('aria-pressed') === 'true') return show();
    put(data.reals);
    label.textContent = 'training data';
    reals.setAttribute('aria-pressed', 'true');
  });
})();
