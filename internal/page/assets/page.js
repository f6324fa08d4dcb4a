// The page without this loads itself again; with it only what changes does, so that nothing moves under the reader's hands.
"use strict";
(() => {
	const every = 3000, patience = 15000;
	const $ = (id) => document.getElementById(id);
	const main = $("main"), form = document.forms[0], silent = $("silent"), age = $("age");
	let answered = main.querySelector("[data-state='no answer']") ? 0 : Date.now();
	let pause = every, silentSince = 0, running = null, timer = 0, typing = 0;

	const clock = (at) => new Date(at).toLocaleTimeString();

	const tell = () => {
		if (document.hidden) return;
		age.textContent = answered ? `Read ${Math.round((Date.now() - answered) / 1000)} s ago, again every ${Math.round(pause / 1000)} s. ` : "";
	};

	// show replaces what changes, and gives the focus back to what had it.
	const show = (html) => {
		const focused = main.contains(document.activeElement) ? document.activeElement.id : "";
		main.innerHTML = html;
		if (focused && $(focused)) $(focused).focus({preventScroll: true});
		const whole = main.querySelector("[data-state]");
		if (!whole) return;
		document.title = `${whole.dataset.state} · natd`;
		const colour = whole.classList.contains("ok") ? "1a7f37" : whole.classList.contains("warn") ? "bf8700" : "cf222e";
		$("icon").href = $("icon").href.replace(/%23[0-9a-f]{6}/, `%23${colour}`);
	};

	const fail = (reason) => {
		silentSince ||= Date.now();
		silent.textContent = `natd does not answer since ${clock(silentSince)}: ${reason}` +
			(answered ? ` What stands here was read at ${clock(answered)}.` : "");
		silent.hidden = false;
		main.classList.toggle("stale", answered > 0);
		document.title = "no answer · natd";
	};

	// load asks for the part that changes. A later question ends an earlier one.
	const load = async () => {
		clearTimeout(timer);
		running?.abort();
		const mine = running = new AbortController(), begin = Date.now();
		const expired = setTimeout(() => mine.abort(), patience);
		try {
			const address = new URL(location.href);
			address.searchParams.set("part", "main");
			const response = await fetch(address, {signal: mine.signal, cache: "no-store", redirect: "error"});
			const text = await response.text();
			if (mine !== running) return;
			if (response.ok) {
				answered = Date.now();
				silentSince = 0;
				silent.hidden = true;
				main.classList.remove("stale");
				show(text);
			} else if (!answered) {
				show(text);
			} else {
				const said = new DOMParser().parseFromString(text, "text/html").querySelector(".reason");
				fail(said ? said.textContent.trim() + "." : `HTTP status ${response.status}.`);
			}
		} catch (error) {
			if (mine !== running) return;
			fail(mine.signal.aborted ? `no answer within ${patience / 1000} s.` : "the connection fails.");
		} finally {
			clearTimeout(expired);
			if (mine === running) {
				tell();
				pause = Math.max(every, 5 * (Date.now() - begin)); // what takes long is not done all the time
				timer = setTimeout(next, pause);
			}
		}
	};

	// next waits while nobody looks, or while the reader marks a text to copy it.
	const next = () => {
		const selection = getSelection();
		const marking = !selection.isCollapsed && main.contains(selection.anchorNode);
		if (document.hidden || marking) timer = setTimeout(next, 500);
		else load();
	};

	const go = (address) => {
		history.replaceState(null, "", address);
		load();
	};

	main.addEventListener("click", (event) => {
		const link = event.target.closest("a[href^='?']");
		if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
		event.preventDefault();
		const address = new URL(link.href);
		if (!address.searchParams.has("q")) form.q.value = "";
		if (!address.searchParams.has("show")) form.show.value = "";
		go(address);
	});

	const filter = () => {
		const address = new URL(location.href);
		for (const name of ["q", "show"]) {
			if (form[name].value) address.searchParams.set(name, form[name].value);
			else address.searchParams.delete(name);
		}
		go(address);
	};
	form.q.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(filter, 200); });
	form.show.addEventListener("change", filter);
	form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); filter(); });
	form.querySelector("button").hidden = true;

	document.addEventListener("visibilitychange", () => { if (!document.hidden) { clearTimeout(timer); load(); } });
	setInterval(tell, 1000);
	tell();
	timer = setTimeout(next, answered ? 1500 : every); // the first rates are worth hurrying for
})();
