// A browser keeps the #fragment of the address that led here. The way back after sign-in takes it along.
const LENGTH_MAX = 2048;
const withFragment = (place) =>
  place && !place.includes('#') && place.length + location.hash.length <= LENGTH_MAX ? place + location.hash : place;
for (const button of document.querySelectorAll('[data-state]')) button.dataset.state = withFragment(button.dataset.state);
for (const field of document.querySelectorAll('[name=state]')) field.value = withFragment(field.value);
for (const link of document.querySelectorAll('.way-back')) link.href = withFragment(link.getAttribute('href'));

// Browsers have a clipboard for pages only on HTTPS and localhost.
for (const button of navigator.clipboard ? document.querySelectorAll('[data-copy]') : []) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}
