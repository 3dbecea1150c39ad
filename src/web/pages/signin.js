// Redirects keep the #fragment of the first address. Add it to the return address after sign-in.
const ENCODED_LENGTH_MAX = 8000;
const withFragment = (place) => {
  const longer = place + location.hash;
  const isShort = String(new URLSearchParams({ rd: longer })).length <= ENCODED_LENGTH_MAX;
  return place && !place.includes('#') && isShort ? longer : place;
};
for (const button of document.querySelectorAll('[data-state]')) button.dataset.state = withFragment(button.dataset.state);
for (const field of document.querySelectorAll('[name=state]')) field.value = withFragment(field.value);
for (const link of document.querySelectorAll('.return')) link.href = withFragment(link.getAttribute('href'));
