// Who comes by a link from elsewhere looks signed out: a strict cookie stays at home for that request.
// Asked from here it comes along.
const answer = await fetch("/console/session").catch(() => null);
const session = answer?.ok ? await answer.json() : {};
if (session.csrf) location.replace(document.querySelector('[name="next"]').value);
