// Google calls this when its script has loaded. Otherwise its button could select the refused account again.
window.onGoogleLibraryLoad = () => google.accounts.id.disableAutoSelect();
