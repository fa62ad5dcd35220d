/** How a LoRaWAN network serves an interface (manual 5.5.1.4.3). */
export interface ConnectivityPlan {
  id: string;
  name: string;
  parameters: {
    /** Transmissions of an uplink. */
    nbTransMin: number;
    nbTransMax: number;
    /** Spreading factors. */
    sfMin: number;
    sfMax: number;
    /** The network locates the device. */
    location: boolean;
    /** Uplinks are acknowledged. */
    ackUl: boolean;
  };
}

const plan = (name: string, ackUl: boolean): ConnectivityPlan => ({
  id: `orange-cs/${name}`,
  name,
  parameters: { nbTransMin: 1, nbTransMax: 3, sfMin: 7, sfMax: 12, location: false, ackUl },
});

export const LORA_PLANS: readonly ConnectivityPlan[] = [plan('CP_Basic', false), plan('CP_ACK', true)];

/** Names under which networks know kinds of devices (manual 3.2.1 and 5.5.1.4.6). */
export const LORA_PROFILES: readonly string[] = [
  'Generic_classA_RX2SF9',
  'Generic_classA_RX2SF12',
  'Generic_classC_RX2SF9',
  'Generic_classC_RX2SF12',
  'LoRaWAN/DemonstratorClasseA',
  'LoRaWAN/DemonstratorClasseC',
  'DP_Generic_AS923_ClassA',
  'Adeunis RF Demonstrator_US_915',
  'ATIM Class A',
  'Connit Pulse',
  'DECENTLAB_DLR2-EU868',
  'DIGITAL_MATTER_EU868',
  'ERCOGENER_EG-IoT',
  'ESM 5k ELSYS Class A',
  'JRI',
  'NETVOX_R711_AS923_ClassA',
  'OCEAN_OBR-L',
  'Sensing_Labs_T_IP68',
];
