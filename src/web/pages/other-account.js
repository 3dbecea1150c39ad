// Google calls this once its script is there; without it, the button might pick the account that was just refused.
window.onGoogleLibraryLoad = () => google.accounts.id.disableAutoSelect();
