import { useSimulation } from './simulation.ts'

/** Nobody shops in an example: this switch makes customers. */
export function Simulation({ on, onChange }: { on: boolean; onChange: (on: boolean) => void }) {
  useSimulation(on)
  return (
    <div className="simulation">
      <p>{on ? 'Customers are being simulated by this page.' : 'It is quiet. Let some customers in.'}</p>
      <button type="button" className="switch" role="switch" aria-checked={on} onClick={() => onChange(!on)}>
        <span className="track" aria-hidden="true" />
        Simulate traffic
      </button>
    </div>
  )
}
