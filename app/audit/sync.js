// Between the desk and the server: what changes at every stroke goes through here, so that the desk is sent only once.
export default mount(() => ({
  update(answer, say) {
    this.destroy();
    this.tell = () => document.dispatchEvent(new CustomEvent("audit-answer", { detail: { answer, say } }));
    document.addEventListener("audit-hello", this.tell);
    this.tell();
  },

  destroy() {
    document.removeEventListener("audit-hello", this.tell);
  },
}));
