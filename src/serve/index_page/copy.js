// Adds a button to each recipe that copies its text, in browsers that can copy.
'use strict';
const copy = async (text) => {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* Not allowed here: on to the other way. */ }
  }
  // A page that came over plain HTTP has no navigator.clipboard.
  const area = document.createElement('textarea');
  area.value = text;
  area.style = 'position: fixed; top: 0; opacity: 0; font-size: 16px';
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
};
if (navigator.clipboard || document.queryCommandSupported('copy')) {
  document.querySelectorAll('.recipe').forEach((recipe) => {
    const [head, text] = recipe.children;
    const button = document.createElement('button');
    const status = document.createElement('span');
    button.type = 'button';
    button.textContent = 'Copy';
    button.setAttribute('aria-label', `Copy ${head.textContent}`);
    status.setAttribute('role', 'status');
    button.onclick = async () => {
      status.textContent = '';
      const copied = await copy(text.textContent);
      button.focus();
      if (!copied) getSelection().selectAllChildren(text);
      status.textContent = copied ? 'Copied' : 'Selected, not copied';
    };
    head.append(button, status);
  });
}
