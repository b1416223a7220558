() => {
  const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest('[aria-hidden=true]') && !e.closest('.visually-hidden');
  const text = (e) => (e?.textContent || '').trim();
  const named = (e) => e.getAttribute('aria-label')?.trim() || text(document.getElementById(e.getAttribute('aria-labelledby') || ''))
    || [...(e.labels || [])].map(text).join('') || (e.matches('button, a, summary, [role=tab], [role=button]') && (text(e) || [...e.querySelectorAll('img[alt], [aria-label]')].map((x) => x.alt || x.getAttribute('aria-label')).join('')))
    || (e.matches('summary, button') && e.title);
  const faults = [], controls = 'button, a[href], input:not([type=hidden]), select, textarea, summary, [role=button], [role=tab], [role=slider], [tabindex="0"]';
  for (const e of document.querySelectorAll(controls)) if (seen(e) && !named(e) && !e.closest('[tabindex="0"][aria-label]')?.contains(e) ) faults.push('no name: ' + e.outerHTML.slice(0, 160));
  for (const e of document.querySelectorAll('img')) if (seen(e) && !e.hasAttribute('alt')) faults.push('no alt: ' + e.outerHTML.slice(0, 120));
  for (const e of document.querySelectorAll('.weft section, .weft nav, .weft aside')) if (seen(e) && !e.closest('dialog') && e.matches('nav, aside, [role=region]') && !named(e)) faults.push('landmark without a name: ' + e.outerHTML.slice(0, 120));
  for (const e of document.querySelectorAll('[role=group], [role=toolbar], [role=radiogroup], [role=dialog], dialog[open], [role=application]')) if (seen(e) && !e.getAttribute('aria-label')?.trim() && !e.getAttribute('aria-labelledby')) faults.push('group without a name: ' + e.outerHTML.slice(0, 160));
  for (const e of document.querySelectorAll('[aria-labelledby], [aria-describedby]')) for (const name of ['aria-labelledby', 'aria-describedby'])
    for (const id of (e.getAttribute(name) || '').split(/\s+/).filter(Boolean)) if (seen(e) && !document.getElementById(id)) faults.push(`${name} names nothing: ` + id);
  const ids = [...document.querySelectorAll('.weft [id], [id^=weft]')].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) faults.push('id twice: ' + id);
  if (!document.documentElement.lang) faults.push('the page has no language');
  if (!document.querySelector('main, [role=main]')) faults.push('no main landmark');
  if (![...document.querySelectorAll('[role=tablist]')].some(seen)) faults.push('no list of tabs');
  return [...new Set(faults)];
}
