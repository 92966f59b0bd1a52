// How pkg-prebuilds names the addon: read by src/adapter/native.ts and by pkg-prebuilds-verify. CommonJS, as it asks for.
module.exports = { name: 'lora_store', napi_versions: [8] };
