export {
  AerostackProvider,
  type ProviderEvents,
  type ProviderOptions,
  type ProviderStatus,
} from './provider.js'
