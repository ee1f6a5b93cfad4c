// Browsers break a line after the dashes of an option, as in "--" and "offline". Here they break before them.
for (const code of document.querySelectorAll(':not(pre) > code')) {
    const parts = code.textContent.split(/(--\w+)/);
    if (parts.length === 1) continue;
    code.replaceChildren(...parts.map((part, index) => {
        if (index % 2 === 0) return part;
        const option = document.createElement('span');
        option.className = 'option';
        option.textContent = part;
        return option;
    }));
}
